import { BelayError } from "@belay/shared";
import type { Host } from "../host.js";
import { whatWasSaid } from "../said.js";

export const COMMAND_TIMEOUT_MS = 60 * 60_000;

/** Runs one of the host's own commands with a path as its last argument. Throws `command-failed`. */
export async function runWithPath(
  argv: readonly string[],
  path: string,
  name: string,
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  const result = await host.exec.run([...argv, path], { timeoutMs: COMMAND_TIMEOUT_MS, signal, keep: "last" });
  if (result.code === 0) return;
  throw new BelayError(
    "command-failed",
    `command ${name} ends with ${result.code ?? result.signal}: ${whatWasSaid(result.stderr)}`,
    {
      hint: "run the command of agent.yaml by hand and see what it says",
      context: { command: name, exit: result.code },
    },
  );
}
