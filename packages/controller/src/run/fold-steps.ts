import { BackupResult, type Outcome, SwapResult } from "@belay/shared";
import { Compile } from "typebox/compile";
import { targetOf } from "../plan/program.js";
import { backoffMs } from "./backoff.js";
import type { EventOf } from "./event.js";
import {
  atWork,
  countInRecap,
  failWork,
  finishWork,
  forgive,
  leaveQueues,
  makeReady,
  noteFailure,
} from "./fold-hosts.js";
import { type Batch, type Flight, type HostWork, type RunState, recordOf, type StageRecord } from "./state.js";
import { isFinal } from "./tolerance.js";

type Done = Extract<Outcome, { status: "done" }>;
type Lost = Exclude<Outcome, { status: "done" }>;

export function intendStep(state: RunState, event: EventOf<"step-intended">): void {
  const { batch, work } = atWork(state, event.host);
  const { type: _, ...flight } = event;
  state.inFlight.set(event.step, flight);
  leaveQueues(batch, work);
  work.status = "flying";
  work.step = event.step;
  work.attempts = event.attempt;
  work.tries += 1;
  work.triedSince ??= event.at;
}

export function endStep(state: RunState, event: EventOf<"step-ended">): void {
  const { step, outcome, at } = event;
  const flight = state.inFlight.get(step);
  if (flight === undefined) {
    learnLate(state, step, outcome, at);
    return;
  }
  state.inFlight.delete(step);
  if (outcome.status === "unknown") state.unknown.set(step, flight);
  const { record, batch, work } = atWork(state, flight.host);
  work.step = null;
  work.since = at;
  if (outcome.status === "done") {
    countDone(state, flight, outcome);
    moveOn(state, record, batch, work, at);
    return;
  }
  if (mayRetry(state, record, work, outcome)) {
    const notBefore = at + backoffMs(step, work.tries);
    // A step may take `stepTimeoutMs` in all: a try that would start later is not worth waiting for.
    if (notBefore < (work.triedSince ?? at) + record.stage.stepTimeoutMs) {
      work.status = "backing-off";
      work.notBefore = notBefore;
      batch.backingOff.add(work.host);
      return;
    }
  }
  lose(state, record, batch, work, outcome, at);
}

function mayRetry(state: RunState, record: StageRecord, work: HostWork, outcome: Lost): boolean {
  if (outcome.status !== "failed" || !outcome.retryable || state.setAside.has(work.host)) return false;
  return !isFinal(outcome.error) && work.tries < record.stage.attempts;
}

/** The host's next op, or the end of its program. */
function moveOn(state: RunState, record: StageRecord, batch: Batch, work: HostWork, at: number): void {
  work.next += 1;
  work.attempts = 0;
  makeReady(batch, work, at);
  if (work.next === work.program.length || state.setAside.has(work.host)) finishWork(state, record, batch, work);
}

function lose(state: RunState, record: StageRecord, batch: Batch, work: HostWork, outcome: Lost, at: number): void {
  const { error } = outcome;
  if (state.setAside.has(work.host)) {
    // A person answers for this host already: it counts in the recap, not against a budget.
    countInRecap(state, work.host, outcome.status === "unknown", 1);
    noteFailure(state, record, work.host, error, at);
    finishWork(state, record, batch, work);
    return;
  }
  if (state.check && outcome.status !== "unknown") {
    recordOf(state, work.host).failed += 1;
    noteFailure(state, record, work.host, error, at);
    work.stumbled = true;
    moveOn(state, record, batch, work, at);
    return;
  }
  failWork(state, record, batch, work, { error, at, unreachable: outcome.status === "unknown" });
}

/**
 * The truth about a step that had ended `unknown`. Where the host still stands at that step, it changes what happens
 * next: done lets it go on (its failure is taken back), anything else replaces the reason. Later it is only recorded.
 */
function learnLate(state: RunState, step: string, outcome: Outcome, at: number): void {
  const flight = state.unknown.get(step);
  if (flight === undefined) throw new TypeError("legal() lets no outcome come for a step nobody waits for");
  state.unknown.delete(step);
  if (outcome.status === "done") countDone(state, flight, outcome);
  const standing = standsAt(state, flight);
  if (standing === null) return;
  const { record, batch, work } = standing;
  if (work.status === "failed") {
    forgive(state, record, batch, work, at);
    if (outcome.status !== "done") lose(state, record, batch, work, outcome, at);
  }
  if (outcome.status === "done") moveOn(state, record, batch, work, at);
}

/** The work of a flight's host, if this very attempt is still what the host's way depends on. */
function standsAt(state: RunState, flight: Flight) {
  const record = state.stages[state.current];
  const { batch } = state;
  if (batch === null || record?.stage.id !== flight.stage || batch.index !== flight.batch) return null;
  const work = batch.work.get(flight.host);
  if (work === undefined || work.next !== flight.index || work.attempts !== flight.attempt) return null;
  return work.status === "failed" || work.status === "ready" ? { record, batch, work } : null;
}

const isBackup = Compile(BackupResult);
const isSwap = Compile(SwapResult);

function countDone(state: RunState, flight: Flight, outcome: Done): void {
  const counts = recordOf(state, flight.host);
  if (!outcome.changed) counts.ok += 1;
  else counts.changed += 1;
  if (state.check) {
    if (outcome.changed) counts.would.push(wouldOf(flight, outcome));
    return;
  }
  const record = state.stages[state.stageIndex.get(flight.stage) ?? -1];
  if (record === undefined) return;
  const { result } = outcome;
  if (flight.op === "swap" || flight.op === "upgrade-agent") {
    counts.reached = targetOf(record.hop, flight.host);
    if (isSwap.Check(result) && result.snapshot !== null) keepBackup(state, flight, record, result.snapshot);
  }
  if ((flight.op === "backup" || flight.op === "verify-backup") && isBackup.Check(result)) {
    keepBackup(state, flight, record, result);
  }
}

/** What the agent says it would do, in its own words. */
function wouldOf(flight: Flight, { result }: Done): string {
  const would = (result as { would?: unknown } | undefined)?.would;
  return typeof would === "string" ? would : `${flight.stage}: ${flight.op}`;
}

function keepBackup(state: RunState, { host }: Flight, { hop }: StageRecord, result: BackupResult): void {
  // Reading a backup back on its host says nothing of its copies: what was said of them before still holds.
  const before = state.backups.get(host)?.result;
  const same = before?.backup === result.backup && before.sha256 === result.sha256;
  const copies = result.copies ?? (same ? before.copies : undefined);
  state.backups.set(host, { hop: hop.id, result: copies === undefined ? result : { ...result, copies } });
}
