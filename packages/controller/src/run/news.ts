import type { Outcome, StepId } from "@belay/shared";
import type { RunState } from "./state.js";

/**
 * Does this outcome tell the run anything? Outcomes arrive at least once and sometimes late: the caller records those that
 * are news and acknowledges the others unrecorded, so that no effect is counted twice (I7, I14). False for steps that
 * were never intended, whose outcome is known, or whose run has ended; true once more for a step given up as unknown.
 */
export function isNews(state: RunState, step: StepId, outcome: Outcome): boolean {
  if (state.ended !== null) return false;
  if (state.inFlight.has(step)) return true;
  return state.unknown.has(step) && outcome.status !== "unknown";
}
