import type { EventOf } from "./event.js";
import { finishWork } from "./fold-hosts.js";
import { type Batch, type HostWork, type RunState, recordOf, type StageRecord } from "./state.js";
import { hostsOf, programOf, STOP_BATCH } from "./steps.js";

export function beginStage(state: RunState, event: EventOf<"stage-started">): void {
  const record = currentStage(state);
  record.status = "active";
  record.startedAt = event.at;
}

/** Makes the work of a batch; hosts that were set aside are left out, and have missed this stage from now on. */
export function beginBatch(state: RunState, event: EventOf<"batch-started">): void {
  const record = currentStage(state);
  leaveBatch(state);
  record.batch = event.batch;
  const batch: Batch = {
    index: event.batch,
    startedAt: event.at,
    work: new Map(),
    open: 0,
    fresh: new Set(),
    begun: new Set(),
    backingOff: new Set(),
    failed: new Map(),
    hard: 0,
    failures: 0,
  };
  state.batch = batch;
  for (const host of hostsOf(record.stage, event.batch)) {
    if (state.setAside.has(host)) {
      recordOf(state, host).missed ??= record.stage.id;
      if (event.batch !== STOP_BATCH) record.skipped += 1;
      continue;
    }
    const work: HostWork = {
      host,
      program: programOf(state.plan, record.stage, host, event.batch) ?? [],
      status: "ready",
      next: 0,
      attempts: 0,
      tries: 0,
      triedSince: null,
      notBefore: 0,
      since: event.at,
      step: null,
      stumbled: false,
    };
    batch.work.set(host, work);
    batch.fresh.add(host);
    batch.open += 1;
    if (work.program.length === 0) finishWork(state, record, batch, work);
  }
}

export function finishStage(state: RunState, event: EventOf<"stage-finished">): void {
  const record = currentStage(state);
  leaveBatch(state);
  state.batch = null;
  record.status = "done";
  record.endedAt = event.at;
  state.current += 1;
}

/** Whoever was set aside in the batch that ends has missed the rest of it. */
function leaveBatch(state: RunState): void {
  const { batch } = state;
  if (batch === null) return;
  for (const host of state.setAside) {
    if (batch.work.get(host)?.status === "aside") recordOf(state, host).missed ??= currentStage(state).stage.id;
  }
}

export function currentStage(state: RunState): StageRecord {
  const record = state.stages[state.current];
  if (record === undefined) throw new TypeError("legal() lets no stage event come after the last stage");
  return record;
}
