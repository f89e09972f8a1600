import type { HostName } from "@belay/shared";
import type { Decision, World } from "./decision.js";
import type { RunEvent } from "./event.js";
import { gatherEvidence } from "./gather.js";
import { nextFailureGate } from "./guard-gates.js";
import { nextBatch } from "./guard-run.js";
import { BELAYD } from "./order.js";
import { awaySince, freeSlots, isBackedOff, OUTCOME_GRACE_MS } from "./pace.js";
import type { Batch, HostWork, RunState, StageRecord } from "./state.js";
import { stepId } from "./steps.js";
import { causeOf, isSpent } from "./tolerance.js";
import type { Wait } from "./wait.js";
import { backoffWait, inFlightWait, offlineWait } from "./waits.js";

/** A stage at work: its next batch, the next steps of the batch, its failure gate, or its end. */
export function work(state: RunState, world: World, now: number, deadline: number | null): Decision {
  const record = state.stages[state.current];
  if (record === undefined) throw new TypeError("a stage at work is one of the run's");
  const { batch } = state;
  if (batch === null) return goOn(record, now);
  // I9: a passed budget stops everything new; the gate opens once what flew has landed, and shows all of it.
  if (isSpent(state)) return drain(state, record, world, now, deadline);
  if (batch.open === 0) return batch.failed.size > 0 ? setFailedAside(batch, record, now) : goOn(record, now);
  return dispatch(state, record, batch, world, now, deadline);
}

/** The batch is over: on to the next one, or to the end of the stage. */
function goOn({ stage, ...record }: StageRecord, now: number): Decision {
  const next = nextBatch({ stage, ...record });
  return moving([
    next === null
      ? { type: "stage-finished", at: now, stage: stage.id }
      : { type: "batch-started", at: now, stage: stage.id, batch: next },
  ]);
}

function drain(state: RunState, record: StageRecord, world: World, now: number, deadline: number | null): Decision {
  if (state.inFlight.size > 0) return { events: [], waits: [inFlightWait(state)], wakeAt: deadline };
  const stage = record.stage.id;
  return moving([
    {
      type: "failure-opened",
      at: now,
      gate: nextFailureGate(record),
      stage,
      cause: causeOf(state),
      evidence: gatherEvidence(state, state.plan, { stage, pointOfNoReturn: false }, world, now),
    },
  ]);
}

/** The budgets bore these failures: the hosts are set aside, and the run goes on without them. */
function setFailedAside(batch: Batch, { stage }: StageRecord, now: number): Decision {
  return moving(
    [...batch.failed.values()].map(({ host, error }) => ({
      type: "host-quarantined",
      at: now,
      host,
      by: BELAYD,
      reason: `failed in ${stage.id}: ${error.message}`,
    })),
  );
}

function dispatch(
  state: RunState,
  record: StageRecord,
  batch: Batch,
  world: World,
  now: number,
  deadline: number | null,
): Decision {
  const events: RunEvent[] = [];
  const offline: HostWork[] = [];
  const early: HostWork[] = [];
  let slots = freeSlots(state);
  // Nothing can be sent anyhow: who is away is asked when there is room, so a full stage costs no walk over its batch.
  if (slots === 0) return { events, waits: [inFlightWait(state)], wakeAt: deadline };
  let wakeAt = deadline;
  const wakeBy = (at: number) => {
    if (wakeAt === null || at < wakeAt) wakeAt = at;
  };
  for (const host of inTurn(batch)) {
    const work = batch.work.get(host);
    if (work === undefined || slots === 0) break;
    if (!isBackedOff(work, now)) {
      early.push(work);
      wakeBy(work.notBefore);
    } else if (world.isPresent(host)) {
      slots -= 1;
      events.push(intend(state, record, batch, work, now));
    } else {
      const until = awaySince(state, work, world.absentSince?.(host) ?? null) + record.stage.stepTimeoutMs;
      if (now >= until) {
        // Alone, because it may be the failure that passes a budget: then nothing may follow it (I9).
        if (events.length > 0) break;
        return moving([{ type: "host-unreachable", at: now, stage: record.stage.id, batch: batch.index, host }]);
      }
      offline.push(work);
      wakeBy(until);
    }
  }
  if (events.length > 0) return moving(events);
  const waits: Wait[] = [];
  if (state.inFlight.size > 0) waits.push(inFlightWait(state));
  if (offline.length > 0) waits.push(offlineWait(state, record, offline, world));
  if (early.length > 0) waits.push(backoffWait(state, early));
  return { events, waits, wakeAt };
}

/** Hosts that were begun come first: finishing them keeps fewer half done. */
function* inTurn(batch: Batch): Generator<HostName> {
  yield* batch.backingOff;
  yield* batch.begun;
  yield* batch.fresh;
}

function intend(
  state: RunState,
  { stage }: StageRecord,
  batch: Batch,
  { host, next, attempts, program }: HostWork,
  now: number,
): RunEvent {
  const op = program[next];
  if (op === undefined) throw new TypeError(`${host} has come to the end of its program`);
  return {
    type: "step-intended",
    at: now,
    step: stepId(state.run, stage.id, host, batch.index, next, attempts + 1),
    stage: stage.id,
    batch: batch.index,
    host,
    index: next,
    op,
    attempt: attempts + 1,
    deadlineAt: now + stage.stepTimeoutMs + OUTCOME_GRACE_MS,
  };
}

function moving(events: readonly RunEvent[]): Decision {
  return { events, waits: [], wakeAt: null };
}
