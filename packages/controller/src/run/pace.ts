import { activeStage, type Flight, type HostWork, type RunState } from "./state.js";

/** How many more steps may fly: a stage has at most `parallel` of them in flight. */
export function freeSlots(state: RunState): number {
  const record = activeStage(state);
  return record === null ? 0 : Math.max(0, record.stage.parallel - state.inFlight.size);
}

export function mayFlyMore(state: RunState): boolean {
  return freeSlots(state) > 0;
}

export function isBackedOff(work: HostWork, now: number): boolean {
  return now >= work.notBefore;
}

/**
 * Since when an absent host is waited for. Time in which nothing could have been sent to it, because the run was paused
 * or no controller led it, doesn't count against the host. `absentSince`: what presence knows, null: nothing.
 */
export function awaySince(state: RunState, work: HostWork, absentSince: number | null): number {
  return Math.max(work.since, work.notBefore, state.resumedAt, state.leaseAt, absentSince ?? 0);
}

/**
 * How long after an op's own time limit (`stage.stepTimeoutMs`, counted by the agent) its outcome may still be under
 * way before the step is given up as unknown.
 */
export const OUTCOME_GRACE_MS = 5_000;

/** After a controller took the run up: time for every agent to redial and deliver what it has kept. */
export const REDIAL_MS = 60_000;

/**
 * When a step is given up as unknown. One that flew while no controller listened gets the time its agent needs to come
 * back and tell: its outcome is most likely in the agent's journal (I14).
 */
export function giveUpAt(state: RunState, flight: Flight): number {
  return flight.at < state.leaseAt ? Math.max(flight.deadlineAt, state.leaseAt + REDIAL_MS) : flight.deadlineAt;
}
