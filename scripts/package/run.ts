import { spawnSync } from "node:child_process";
import { BelayError } from "@belay/shared";

/** Builds take their time (a compiler runs for a minute or two); longer than this, something hangs. */
const TIMEOUT_MS = 15 * 60_000;

/** Runs a program of the build to its end. Throws `build-failed` with the end of what it said. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
  });
  if (status === 0) return stdout;
  const said = `${stdout ?? ""}${stderr ?? ""}`.trimEnd().split("\n").slice(-30).join("\n");
  throw new BelayError("build-failed", `${program} ${args.join(" ")}: ${error?.message ?? `exit ${status}`}\n${said}`);
}
