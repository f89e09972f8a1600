import { basename } from "node:path";
import { BelayError, errorInfo, type HookRun } from "@belay/shared";
import type { CommandResult } from "../exec.js";
import type { Host } from "../host.js";
import type { Attempt } from "../ops/op.js";
import { MOST_SAID, whatWasSaid } from "../said.js";
import { executablesOf, type HookName } from "./find.js";

/** The exit code that says: nothing is wrong, but not now. */
const TRY_AGAIN = 21;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What a hook is told about the step. */
export interface HookCause {
  service: string;
  from: string | null;
  to: string | null;
  timeoutMs: number;
}

/**
 * Runs one hook's executables, one after the other, each with a small environment of its own. Throws `hook-not-yet` for exit
 * code 21, `hook-failed` for any other that isn't 0 and for one that takes too long. A hook may be run again after a crash.
 */
export async function runHook(
  name: HookName,
  cause: HookCause,
  host: Host,
  attempt: Pick<Attempt, "step" | "progress">,
  signal: AbortSignal,
): Promise<HookRun[]> {
  const runs: HookRun[] = [];
  for (const file of await executablesOf(host.hooksDir, name)) {
    attempt.progress(`hook ${name}: ${basename(file)}`);
    const run = await runOne(name, file, cause, host, attempt.step, signal);
    host.log.info({ step: attempt.step, hook: name, file, exit: run.exit, output: run.output }, "hook ended");
    if (run.exit !== 0) throw unhappy(run, file, runs);
    runs.push(run);
  }
  return runs;
}

async function runOne(
  name: HookName,
  file: string,
  cause: HookCause,
  host: Host,
  step: string,
  signal: AbortSignal,
): Promise<HookRun> {
  const env = {
    PATH,
    BELAY_HOOK: name,
    BELAY_HOST: host.name,
    BELAY_SERVICE: cause.service,
    BELAY_FROM: cause.from ?? "",
    BELAY_TO: cause.to ?? "",
    BELAY_STEP: step,
  };
  const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  // Nothing of the agent's own environment gets to a hook.
  const argv = ["/usr/bin/env", "-i", ...words, file];
  const hook = file.endsWith(`/${name}`) ? name : `${name}.d/${basename(file)}`;
  try {
    const result = await host.exec.run(argv, { timeoutMs: cause.timeoutMs, signal, keep: "last" });
    return { hook, exit: result.code, output: outputOf(result) };
  } catch (error) {
    signal.throwIfAborted();
    throw new BelayError("hook-failed", `hook ${hook}: ${errorInfo(error).message}`, {
      hint: `run ${file} by hand and see what it waits for, or raise the variable hookTimeout in fleet.yaml`,
      context: { file, timeoutMs: cause.timeoutMs },
    });
  }
}

/** The end of each, so that a lot of the one doesn't hide the reason in the other. */
function outputOf({ stdout, stderr }: CommandResult): string {
  const said = [stdout, stderr].map((text) => text.trim()).filter((text) => text !== "");
  return said.map((text) => whatWasSaid(text, MOST_SAID / said.length)).join("\n");
}

/** `before`: those of the same hook that went well. */
function unhappy(run: HookRun, file: string, before: readonly HookRun[]): BelayError {
  const context = { file, ...run, ...(before.length > 0 ? { hooks: before } : {}) };
  const said = run.output === "" ? "" : `: ${run.output}`;
  if (run.exit === TRY_AGAIN) {
    return new BelayError("hook-not-yet", `hook ${run.hook} says not yet${said}`, {
      hint: "it is asked again; look at what it waits for if that goes on",
      context,
    });
  }
  return new BelayError("hook-failed", `hook ${run.hook} ends with ${run.exit ?? "a signal"}${said}`, {
    hint: `run ${file} by hand and see what it says`,
    context,
  });
}
