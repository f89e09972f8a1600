import type { RunEvent } from "./event.js";
import type { RunState } from "./state.js";

/** Why not: a stable code, what happened, what to do. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** The details of one kind of event, once its phase allows it. Null: legal. */
export type Guard<T extends RunEvent["type"]> = (
  state: RunState,
  event: Extract<RunEvent, { type: T }>,
) => Refusal | null;

/** Why a gate can't be answered: passed, rejected, not open yet, or not of this plan at all. */
export function gateClosed(state: RunState, gate: string): Refusal {
  const opened = state.gates.get(gate);
  if (opened?.passed) return { code: "gate-passed", message: `gate ${gate} was already passed by ${opened.passed}` };
  if (opened !== undefined) {
    const last = opened.decisions.at(-1);
    return last?.decision === "reject"
      ? { code: "gate-rejected", message: `gate ${gate} was rejected by ${last.by}: ${last.reason}` }
      : { code: "gate-closed", message: `gate ${gate} closed when run ${state.run} was on its way to its end` };
  }
  if (state.failureGates.has(gate)) {
    return {
      code: "gate-is-failure",
      message: `${gate} is a failure gate: there is nothing to approve`,
      hint: `answer it with belay run retry, skip, rollback or abort ${state.run}`,
    };
  }
  if (state.stages.some(({ stage }) => stage.gate?.id === gate)) {
    return {
      code: "gate-not-open",
      message: `gate ${gate} is not open yet: run ${state.run} has not got there`,
      hint: `belay why ${state.run} says where it is`,
    };
  }
  return { code: "gate-unknown", message: `run ${state.run} has no gate ${gate}` };
}

/** Why a failure gate can't be answered. */
export function failureClosed(state: RunState, gate: string): Refusal {
  const decision = state.failureGates.get(gate)?.decision;
  if (decision) {
    return {
      code: "gate-decided",
      message: `failure gate ${gate} was decided by ${decision.by}: ${decision.decision}`,
    };
  }
  return { code: "failure-gate-unknown", message: `run ${state.run} has no open failure gate ${gate}` };
}
