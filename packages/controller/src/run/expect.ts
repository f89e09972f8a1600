import type { StageKind } from "../plan/plan.js";
import type { RunState, StageRecord } from "./state.js";

/** Milliseconds of a stage's wall time per host, by kind of stage: from earlier runs, or from this one so far. */
export type Pace = Readonly<Partial<Record<StageKind, number>>>;

/** The pace of the stages this run has finished; what a later run may be judged by. */
export function paceOf(state: RunState): Pace {
  const sums = new Map<StageKind, { ms: number; hosts: number }>();
  for (const { stage, startedAt, endedAt, total } of state.stages) {
    if (startedAt === null || endedAt === null || total === 0) continue;
    const sum = sums.get(stage.kind) ?? { ms: 0, hosts: 0 };
    sum.ms += endedAt - startedAt;
    sum.hosts += total;
    sums.set(stage.kind, sum);
  }
  return Object.fromEntries([...sums].map(([kind, { ms, hosts }]) => [kind, ms / hosts]));
}

/**
 * When the run should be done, judging by its own pace and, for kinds of stage it has not come to, by an earlier one.
 * People's time at gates is not foreseen. Null while nobody can tell, and when the run is not going anywhere.
 */
export function expectedEndAt(state: RunState, now: number, earlier: Pace = {}): number | null {
  if (state.ended !== null || state.ending !== null || state.pause !== null) return null;
  const pace: Pace = { ...earlier, ...paceOf(state) };
  let left = 0;
  for (const record of state.stages.slice(state.current)) {
    const ms = timeLeft(record, now, pace);
    if (ms === null) return null;
    left += ms;
  }
  return now + Math.round(left);
}

function timeLeft(record: StageRecord, now: number, pace: Pace): number | null {
  const { stage, total, ok, failed, skipped, startedAt } = record;
  const finished = Math.min(total, ok + failed + skipped);
  if (total === finished) return 0;
  if (startedAt !== null && finished > 0) return ((now - startedAt) / finished) * (total - finished);
  const usual = pace[stage.kind];
  if (usual === undefined) return null;
  return Math.max(0, usual * total - (startedAt === null ? 0 : now - startedAt));
}
