import { BelayError, done, errorInfo, type OpOf, type Outcome, type SwapResult } from "@belay/shared";
import { mustBeFree } from "../backups/held.js";
import { allowBackup } from "../backups/take.js";
import { clearWayBack, present } from "../durable.js";
import { installedAt } from "../entry/installed.js";
import { clearOriginals } from "../entry/original.js";
import { runningVersion } from "../facts/running.js";
import { allowEntry } from "../facts/snapshot.js";
import { needHooks } from "../hooks/find.js";
import type { Host } from "../host.js";
import { verifyVersion, versionDir } from "../versions/manifest.js";
import { drift, needDefined } from "./drift.js";
import type { Attempt, Perform } from "./op.js";

import { settle } from "./settle.js";
import { goForward } from "./swap-forward.js";
import { goBack } from "./swap-revert.js";

type Swap = OpOf<"swap">;

/**
 * One local transaction: the new version settles, or the old one is back, and the agent alone sees to it. Every phase is
 * in the journal before its effect, so that a new life of the agent goes on from there, in the same direction (I7, I14).
 *
 *     begun -> [pre-drain -> drain ->] [adopting -> adopted] -> [stopping -> stopped -> [snapshotting -> snapshot]] -> switching -> starting -> started -> healthy -> [post-health -> undrain ->] done
 *        \___________________________ reverting -> ... -> reverted | revert-failed (see swap-revert)
 */
export const swap: Perform<"swap"> = async (op, host, attempt) => {
  await allowSwap(op, host);
  if (attempt.passed("begun") === undefined) {
    const there = await mayBegin(op, host, attempt);
    if (there !== null) return there;
    if (attempt.check) return done(true, { would: wouldDo(op) });
    // A unit that was broken when the plan was made already could be brought up by neither version.
    const status = await host.allowed.service(op.service).needDefinition();
    const hooks = op.hookTimeoutMs !== undefined && (await needHooks(host));
    // From here on, whatever happens, this op ends in one of two whole states.
    await attempt.pass("begun", { at: Math.round(host.clock.now()), wasRunning: status.state !== "stopped", hooks });
  }
  const outcome = await forwardOrBack(op, host, attempt);
  try {
    await clearWayBack(op.link);
    if (op.entry !== undefined) await clearOriginals(op.entry);
  } catch (error) {
    // Which of the two states this ended in is settled; a name too many beside it changes nothing.
    host.log.warn({ step: attempt.step, error: errorInfo(error) }, "the way back can't be cleared away");
  }
  return withSnapshot(outcome, attempt);
};

/** A swap that ends otherwise than done has its snapshot all the same, and nobody else could say that there is one. */
function withSnapshot(outcome: Outcome, attempt: Attempt): Outcome {
  const snapshot = attempt.passed("snapshot");
  if (outcome.status === "done" || snapshot === undefined) return outcome;
  const { error } = outcome;
  return { ...outcome, error: { ...error, context: { ...error.context, snapshot } } };
}

async function forwardOrBack(op: Swap, host: Host, attempt: Attempt): Promise<Outcome> {
  if (attempt.passed("reverting") !== undefined) return goBack(op, host, attempt, null);
  try {
    return done(true, await goForward(op, host, attempt));
  } catch (error) {
    // The agent stops: what is open goes on in its next life, forward.
    attempt.halt.throwIfAborted();
    return goBack(op, host, attempt, error);
  }
}

async function allowSwap(op: Swap, host: Host): Promise<void> {
  host.allowed.service(op.service);
  await host.allowed.path(op.versionsDir);
  await host.allowed.link(op.link);
  if (op.entry !== undefined) await allowEntry(op.entry, host);
  if (op.snapshot !== null) await allowBackup(op.snapshot, host);
}

/**
 * Looks before the first touch. Null: go. An outcome: it is done already. Throws `drift` and what `verifyVersion` throws.
 * A check meets the host before the steps ahead of this one, so what they are to bring about is not held against it.
 */
async function mayBegin(op: Swap, host: Host, attempt: Attempt): Promise<Outcome | null> {
  if (op.hookTimeoutMs !== undefined) await needHooks(host);
  const service = host.allowed.service(op.service);
  const installed = await installedAt(op, host);
  const status = await service.status();
  if (installed === op.to && installed !== op.from && status.state === "running") {
    const { pid } = status;
    const running = await runningVersion(op.version, { pid, versionsDir: op.versionsDir }, host.http, attempt.signal);
    if (running === op.to) return alreadyThere(op, host, attempt, status.restarts);
  }
  if (installed !== op.from) throw drift(op.from, installed);
  await needDefined(op, service, op.versionsDir);
  if (op.how === "start" && status.state === "running" && !attempt.check) {
    throw new BelayError("drift", `the plan assumed that ${op.service} is stopped, and it runs`, {
      hint: "somebody started it: look at this host, then plan anew",
      context: { expected: "stopped", found: status.state },
    });
  }
  if (op.snapshot !== null) await mustBeFree(op.snapshot, attempt.step);
  const target = versionDir(op.versionsDir, op.to);
  if (!attempt.check || (await present(target))) await verifyVersion(target, op.sha256, attempt.signal);
  return null;
}

/** Somebody, perhaps an earlier attempt, brought the new version up: it counts only when it holds (I8). */
async function alreadyThere(op: Swap, host: Host, attempt: Attempt, restarts: number): Promise<Outcome> {
  const version = { expect: op.to, probes: op.version, versionsDir: op.versionsDir };
  const { checks, settleMs, startTimeoutMs } = op;
  const service = host.allowed.service(op.service);
  await settle({ service, checks, version, restarts, settleMs, startTimeoutMs, signal: attempt.signal }, host);
  const result: SwapResult = { from: op.from, to: op.to, running: op.to, downMs: 0, snapshot: null };
  return done(false, result);
}

function wouldDo(op: Swap): string {
  const snapshot = op.snapshot === null ? "" : ", take a cold snapshot";
  const stop =
    op.how === "start" || (op.how === "reload" && op.snapshot === null) ? "" : `stop ${op.service}${snapshot}, `;
  return `${stop}point ${op.link} at ${op.to}, ${op.how} ${op.service}, and watch it for ${op.settleMs} ms`;
}
