import type { Outside } from "@belay/controller/cli/outside";
import { runCli } from "@belay/controller/cli/program";

/**
 * One command line of somebody who isn't at this terminal, in this process: the same code as `belay` itself, without the time
 * that a program takes to start. Answers what it said when it failed, else null.
 */
export async function typedElsewhere(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string | null> {
  let said = "";
  const output = {
    isTty: false,
    columns: 100,
    rows: 40,
    write: (text: string) => {
      said += text;
    },
  };
  const outside: Outside = {
    env,
    home: "/nonexistent",
    userName: "nobody",
    out: output,
    err: output,
    fetch: globalThis.fetch,
    now: Date.now,
    sleep: async () => {},
    onInterrupt: () => () => {},
    onResize: () => () => {},
    run: async () => ({ code: 1, output: "" }),
    canAsk: false,
    ask: async () => null,
  };
  return (await runCli(args, "demo", outside)) === 0 ? null : said;
}
