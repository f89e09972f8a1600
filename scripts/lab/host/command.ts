import { spawn } from "node:child_process";
import { once } from "node:events";

/** How a command ended, with all it said. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** After so long it is killed, and counts as failed. Default one minute. */
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly cwd?: string;
}

const DEFAULT_TIMEOUT_MS = 60_000;

/** Runs a command to its end, whatever that is. Throws only when it can't be started. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [file = "", ...args] = argv;
  const { timeoutMs = DEFAULT_TIMEOUT_MS, input, cwd } = options;
  const child = spawn(file, args, { stdio: "pipe", timeout: timeoutMs, killSignal: "SIGKILL", cwd });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A command that doesn't read its input to the end is none that failed.
  child.stdin.on("error", () => {});
  child.stdin.end(input ?? "");
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** As `run`, and its standard output. Throws, with what it said, unless it ended with 0. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const ran = await run(argv, options);
  if (ran.code === 0) return ran.stdout;
  const said = `${ran.stderr}${ran.stdout}`.trim().split("\n").slice(-15).join("\n");
  throw new Error(`${argv.slice(0, 12).join(" ")} ended with ${ran.code ?? "a time-out"}:\n${said}`);
}
