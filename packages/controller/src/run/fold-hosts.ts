import type { ErrorInfo, HostName } from "@belay/shared";
import type { EventOf } from "./event.js";
import { BELAYD } from "./order.js";
import {
  type Batch,
  type Failure,
  type HostWork,
  RECENT_FAILURES,
  type RunState,
  recordOf,
  type StageRecord,
} from "./state.js";
import { STOP_BATCH } from "./steps.js";
import { hardnessOf } from "./tolerance.js";

/** Nothing is left to do for this host in this batch: it is done, or it was set aside on the way. */
export function finishWork(state: RunState, record: StageRecord, batch: Batch, work: HostWork): void {
  const isWhole = work.next === work.program.length;
  work.status = isWhole ? "done" : "aside";
  leaveQueues(batch, work);
  batch.open -= 1;
  if (batch.index === STOP_BATCH) return;
  if (!isWhole) record.skipped += 1;
  else if (state.check && work.stumbled) record.failed += 1;
  else record.ok += 1;
}

/** The host failed in this stage: counted once against the budgets of batch, stage and run (I9). */
export function failWork(
  state: RunState,
  record: StageRecord,
  batch: Batch,
  work: HostWork,
  what: { readonly error: ErrorInfo; readonly at: number; readonly unreachable: boolean },
): void {
  const hard = hardnessOf(state, record, batch.index, work.host, what.error);
  work.status = "failed";
  leaveQueues(batch, work);
  batch.open -= 1;
  batch.failed.set(work.host, { host: work.host, hard, ...what });
  if (hard !== null) batch.hard += 1;
  countFailure(state, record, batch, 1);
  countInRecap(state, work.host, what.unreachable, 1);
  noteFailure(state, record, work.host, what.error, what.at);
}

/** Takes a failure back, because somebody asked for another go or the truth came late. The host is open again. */
export function forgive(state: RunState, record: StageRecord, batch: Batch, work: HostWork, at: number): void {
  const failure = batch.failed.get(work.host);
  if (failure === undefined) throw new TypeError(`${work.host} has not failed`);
  dropFailure(batch, failure);
  countFailure(state, record, batch, -1);
  countInRecap(state, work.host, failure.unreachable, -1);
  batch.open += 1;
  makeReady(batch, work, at);
}

/** The host may take its next step; a person's new go starts with all its tries. */
export function makeReady(batch: Batch, work: HostWork, at: number): void {
  work.status = "ready";
  work.since = at;
  work.tries = 0;
  work.triedSince = null;
  work.notBefore = 0;
  const queue = work.next > 0 || work.attempts > 0 ? batch.begun : batch.fresh;
  queue.add(work.host);
}

/** Nothing is to be sent to this host, for now or for good. */
export function leaveQueues(batch: Batch, work: HostWork): void {
  batch.fresh.delete(work.host);
  batch.begun.delete(work.host);
  batch.backingOff.delete(work.host);
}

export function noteFailure(state: RunState, record: StageRecord, host: HostName, error: ErrorInfo, at: number): void {
  state.recentFailures.push({ host, stage: record.stage.id, error, at });
  if (state.recentFailures.length > RECENT_FAILURES) state.recentFailures.shift();
}

/** The host stayed away: it failed with nothing done to it. */
export function giveUp(state: RunState, event: EventOf<"host-unreachable">): void {
  const { record, batch, work } = atWork(state, event.host);
  const error = {
    code: "host-unreachable",
    message: `${event.host} stayed away for ${Math.round(record.stage.stepTimeoutMs / 1000)} s; nothing was sent to it`,
    hint: "bring its belay-agent back, then retry",
  };
  failWork(state, record, batch, work, { error, at: event.at, unreachable: true });
}

/**
 * Sets a host aside. Where Belay does it, at the end of a batch whose budget bore the failure, the failure stays counted;
 * where a person does, they answer for the host, and the budgets get its failure back.
 */
export function setAside(state: RunState, event: EventOf<"host-quarantined">): void {
  const { host, by, reason, at } = event;
  const record = state.stages[state.current];
  recordOf(state, host).aside = { by, reason, at, stage: record?.stage.id ?? null };
  state.setAside.add(host);
  const { batch } = state;
  const work = batch?.work.get(host);
  if (batch === null || record === undefined || work === undefined) return;
  if (work.status === "ready" || work.status === "backing-off") {
    finishWork(state, record, batch, work);
    return;
  }
  const failure = batch.failed.get(host);
  if (failure === undefined) return;
  dropFailure(batch, failure);
  work.status = "aside";
  if (by === BELAYD) return;
  countFailure(state, record, batch, -1);
  if (batch.index !== STOP_BATCH) record.skipped += 1;
}

/** Takes a host back that was set aside; where its batch is still at work, it goes on with the op it had come to. */
export function release(state: RunState, event: EventOf<"host-released">): void {
  recordOf(state, event.host).aside = null;
  state.setAside.delete(event.host);
  const record = state.stages[state.current];
  const { batch } = state;
  const work = batch?.work.get(event.host);
  if (batch === null || record === undefined || work?.status !== "aside") return;
  if (batch.index !== STOP_BATCH) record.skipped -= 1;
  batch.open += 1;
  makeReady(batch, work, event.at);
}

/** The stage, batch and work of a host that legal() has found in the batch at work. */
export function atWork(state: RunState, host: HostName) {
  const record = state.stages[state.current];
  const { batch } = state;
  const work = batch?.work.get(host);
  if (record === undefined || batch === null || work === undefined) throw new TypeError(`${host} is not at work`);
  return { record, batch, work };
}

function dropFailure(batch: Batch, failure: Failure): void {
  batch.failed.delete(failure.host);
  if (failure.hard !== null) batch.hard -= 1;
}

function countFailure(state: RunState, record: StageRecord, batch: Batch, by: 1 | -1): void {
  batch.failures += by;
  record.failed += by;
  state.failures += by;
}

/** The host's line of the recap: what was lost counts as unreachable, all else as failed. */
export function countInRecap(state: RunState, host: HostName, unreachable: boolean, by: 1 | -1): void {
  const counts = recordOf(state, host);
  if (unreachable) counts.unreachable += by;
  else counts.failed += by;
}
