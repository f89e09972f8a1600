import type { HookRun, OpOf } from "@belay/shared";
import type { HookName } from "../hooks/find.js";
import { runHook } from "../hooks/run.js";
import type { Host } from "../host.js";
import type { Attempt } from "./op.js";

type Swap = OpOf<"swap">;

/**
 * Runs a hook of this swap once: what an earlier life saw through is not run again, what it only began is. Announced in the
 * journal first, so that whatever was drained is known and undrained (I7, I14).
 */
export async function swapHook(
  name: HookName,
  op: Swap,
  host: Host,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<void> {
  const { service, from, to, hookTimeoutMs } = op;
  if (hookTimeoutMs === undefined || !mayHook(op, attempt) || attempt.passed(`${name}-done`) !== undefined) return;
  if (attempt.passed(name) === undefined) await attempt.pass(name);
  const runs = await runHook(name, { service, from, to, timeoutMs: hookTimeoutMs }, host, attempt, signal);
  await attempt.pass(`${name}-done`, { runs });
}

/** Had this host a hook when the swap began? With none there is nothing to announce. Earlier agents didn't note it. */
export function mayHook(op: Swap, attempt: Attempt): boolean {
  return op.hookTimeoutMs !== undefined && attempt.passed("begun")?.hooks !== false;
}

/** All that hooks said on the way forward, for the outcome. */
export function hooksRun(attempt: Attempt): HookRun[] {
  const names: HookName[] = ["pre-drain", "drain", "post-health", "undrain"];
  return names.flatMap((name) => (attempt.passed(`${name}-done`)?.runs as HookRun[] | undefined) ?? []);
}
