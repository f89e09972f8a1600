import type { RunEvent } from "./event.js";
import type { RunState } from "./state.js";
import { activeStage } from "./state.js";
import { isSpent } from "./tolerance.js";

/**
 * Where a run stands, coarsely; it follows from the state and is stored nowhere.
 * - between: before, between and after stages
 * - gated: a gate between stages is open
 * - working: a stage is at work
 * - draining: a budget is passed; what is in flight may end, nothing else starts (I9)
 * - failure: a failure gate is open
 * - pausing, paused: a person said stop; with steps in flight, and without (I12)
 * - ending: on its way to its end (aborted, denied, rolled back)
 * - ended
 */
export type Phase =
  | "between"
  | "gated"
  | "working"
  | "draining"
  | "failure"
  | "pausing"
  | "paused"
  | "ending"
  | "ended";

export function phaseOf(state: RunState): Phase {
  if (state.ended !== null) return "ended";
  if (state.ending !== null) return "ending";
  if (state.pause !== null) return state.inFlight.size > 0 ? "pausing" : "paused";
  if (state.openFailure !== null) return "failure";
  if (state.openGate !== null) return "gated";
  if (activeStage(state) === null) return "between";
  return isSpent(state) ? "draining" : "working";
}

export type EventType = RunEvent["type"];

/**
 * Which event may come in which phase, and which phases may follow. What is not here is illegal; what is here is legal
 * if it also fits the details (`legal`). At an open failure gate, aborting is one of its answers (`failure-decided`). `docs/run-states.md` is made from this, and the tests walk every arrow of it.
 */
export const TRANSITIONS: Readonly<Record<Phase, Readonly<Partial<Record<EventType, readonly Phase[]>>>>> = {
  between: {
    "lease-taken": ["between"],
    "approval-renewed": ["between"],
    "gate-opened": ["gated"],
    "stage-started": ["working"],
    "failure-opened": ["failure"],
    "step-ended": ["between"],
    "host-quarantined": ["between"],
    "host-released": ["between"],
    "pause-asked": ["paused"],
    "abort-asked": ["ending"],
    "run-ended": ["ended"],
  },
  gated: {
    "lease-taken": ["gated"],
    "approval-renewed": ["gated"],
    "gate-decided": ["gated", "ending"],
    "approval-lapsed": ["gated"],
    "gate-expired": ["gated", "ending"],
    "gate-passed": ["between"],
    "step-ended": ["gated"],
    "host-quarantined": ["gated"],
    "host-released": ["gated"],
    "pause-asked": ["paused"],
    "abort-asked": ["ending"],
  },
  working: {
    "lease-taken": ["working"],
    "approval-renewed": ["working"],
    "batch-started": ["working"],
    "step-intended": ["working"],
    "step-ended": ["working", "draining"],
    "host-unreachable": ["working", "draining"],
    "host-quarantined": ["working"],
    "host-released": ["working"],
    "stage-finished": ["between"],
    "pause-asked": ["pausing", "paused"],
    "abort-asked": ["ending"],
  },
  draining: {
    "lease-taken": ["draining"],
    "approval-renewed": ["draining"],
    "step-ended": ["draining", "working"],
    "failure-opened": ["failure"],
    "host-quarantined": ["draining", "working"],
    "host-released": ["draining"],
    "pause-asked": ["pausing", "paused"],
    "abort-asked": ["ending"],
  },
  failure: {
    "lease-taken": ["failure"],
    "approval-renewed": ["failure"],
    "failure-decided": ["working", "draining", "between", "ending"],
    "step-ended": ["failure"],
    "host-quarantined": ["failure"],
    "host-released": ["failure"],
    "pause-asked": ["paused"],
  },
  pausing: {
    "lease-taken": ["pausing"],
    "approval-renewed": ["pausing"],
    "step-ended": ["pausing", "paused"],
    "host-quarantined": ["pausing"],
    "host-released": ["pausing"],
    resumed: ["working", "draining"],
    "abort-asked": ["ending"],
  },
  paused: {
    "lease-taken": ["paused"],
    "approval-renewed": ["paused"],
    "gate-decided": ["paused", "ending"],
    "approval-lapsed": ["paused"],
    "failure-decided": ["paused", "ending"],
    "step-ended": ["paused"],
    "host-quarantined": ["paused"],
    "host-released": ["paused"],
    resumed: ["between", "gated", "working", "draining", "failure"],
    "abort-asked": ["ending"],
  },
  ending: {
    "lease-taken": ["ending"],
    "step-ended": ["ending"],
    "run-ended": ["ended"],
  },
  ended: {},
};
