import type { Outcome, StepId } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import type { EventOf, RunEvent } from "./event.js";
import {
  foldApprovalLapsed,
  foldApprovalRenewed,
  foldFailureDecided,
  foldFailureOpened,
  foldGateDecided,
  foldGateExpired,
  foldGateOpened,
  foldGatePassed,
} from "./fold-gates.js";
import { giveUp, release, setAside } from "./fold-hosts.js";
import { beginBatch, beginStage, finishStage } from "./fold-stages.js";
import { endStep, intendStep } from "./fold-steps.js";
import { type RunState, startState } from "./state.js";
import { legal } from "./transitions.js";

/**
 * One event further. Changes and returns the state it is given (`null`: the run is about to start). Throws IllegalEvent,
 * with the state untouched, for what may not happen. Deterministic: the same events always give the same state (I14).
 */
export function fold(state: RunState | null, event: RunEvent, plan: Plan): RunState {
  const illegal = legal(state, event);
  if (illegal !== null) throw illegal;
  if (state === null) {
    if (event.type !== "run-started") throw new TypeError("legal() lets nothing but run-started come first");
    return startState(plan, event);
  }
  const change = CHANGES[event.type] as (state: RunState, event: RunEvent) => void;
  change(state, event);
  state.seq += 1;
  state.lastAt = event.at;
  return state;
}

/** The state after all of these events, from the first on. Throws IllegalEvent at the first that could not have happened. */
export function replay(plan: Plan, events: Iterable<RunEvent>): RunState {
  let state: RunState | null = null;
  for (const event of events) state = fold(state, event, plan);
  if (state === null) throw new TypeError("a run has at least its run-started event");
  return state;
}

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

type Changes = { readonly [T in RunEvent["type"]]: (state: RunState, event: EventOf<T>) => void };

/** What each event changes, once legal() has let it through. */
const CHANGES: Changes = {
  "run-started": () => {},
  "lease-taken": (state, event) => {
    state.fence = event.fence;
    state.leaseAt = event.at;
  },
  "stage-started": beginStage,
  "batch-started": beginBatch,
  "stage-finished": finishStage,
  "gate-opened": foldGateOpened,
  "gate-decided": foldGateDecided,
  "approval-lapsed": foldApprovalLapsed,
  "approval-renewed": foldApprovalRenewed,
  "gate-expired": foldGateExpired,
  "gate-passed": foldGatePassed,
  "step-intended": intendStep,
  "step-ended": endStep,
  "failure-opened": foldFailureOpened,
  "failure-decided": foldFailureDecided,
  "host-unreachable": giveUp,
  "host-quarantined": setAside,
  "host-released": release,
  "pause-asked": (state, { by, reason, at }) => {
    state.pause = { by, reason, at };
  },
  resumed: (state, event) => {
    state.pause = null;
    state.resumedAt = event.at;
  },
  "abort-asked": (state, { by, reason, at, rollback }) => {
    state.pause = null;
    state.ending = { result: rollback ? "rolled-back" : "aborted", reason: `${by}: ${reason}`, at };
  },
  "run-ended": (state, { result, reason, at }) => {
    state.ended = { result, reason, at };
  },
};
