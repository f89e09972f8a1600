import { BelayError } from "@belay/shared";
import type { RunEvent } from "./event.js";
import { gateGuards } from "./guard-gates.js";
import { hostGuards } from "./guard-hosts.js";
import { runGuards } from "./guard-run.js";
import { stepGuards } from "./guard-steps.js";
import { phaseOf, TRANSITIONS } from "./phase.js";
import { failureClosed, type Guard, gateClosed, type Refusal } from "./refusal.js";
import type { RunState } from "./state.js";

/** An event that may not happen in the state a run is in. Its code says why; nothing was changed. */
export class IllegalEvent extends BelayError {
  readonly event: RunEvent["type"];

  constructor(event: RunEvent, refusal: Refusal, context: Record<string, unknown> = {}) {
    super(refusal.code, refusal.message, {
      ...(refusal.hint === undefined ? {} : { hint: refusal.hint }),
      context: { ...context, event: event.type },
    });
    this.name = "IllegalEvent";
    this.event = event.type;
  }
}

type Guards = { readonly [T in RunEvent["type"]]: Guard<T> };

const GUARDS: Guards = { ...runGuards, ...gateGuards, ...stepGuards, ...hostGuards };

/**
 * Whether an event may happen now: the only place that says so. People's commands, Belay's own decisions and the events
 * of a log that is read again all pass through here. Null: it may.
 */
export function legal(state: RunState | null, event: RunEvent): IllegalEvent | null {
  if (state === null) {
    if (event.type === "run-started") return null;
    return new IllegalEvent(event, { code: "run-not-started", message: `${event.type} before run-started` });
  }
  const phase = phaseOf(state);
  if (TRANSITIONS[phase][event.type] === undefined) return new IllegalEvent(event, outOfPhase(state, event), { phase });
  const guard = GUARDS[event.type] as Guard<RunEvent["type"]>;
  const refusal = guard(state, event);
  return refusal === null ? null : new IllegalEvent(event, refusal, { phase });
}

/** The commonest reasons in a person's words: these are what a late or a hasty command is answered. */
function outOfPhase(state: RunState, event: RunEvent): Refusal {
  const phase = phaseOf(state);
  if (phase === "ended") {
    return { code: "run-ended", message: `run ${state.run} has ended: ${state.ended?.reason}` };
  }
  switch (event.type) {
    case "gate-decided":
    case "approval-lapsed":
      return gateClosed(state, event.gate);
    case "failure-decided":
      return failureClosed(state, event.gate);
    case "resumed":
      return { code: "run-not-paused", message: `run ${state.run} is not paused` };
    case "pause-asked":
    case "abort-asked":
      if (phase === "failure") {
        return {
          code: "run-at-failure-gate",
          message: `run ${state.run} is at failure gate ${state.openFailure?.id}, and aborting is one of its answers`,
        };
      }
      return phase === "ending"
        ? { code: "run-ending", message: `run ${state.run} is already on its way to its end: ${state.ending?.reason}` }
        : { code: "run-paused", message: `run ${state.run} is already ${phase}` };
    default:
      return {
        code: "event-out-of-order",
        message: `${event.type} can't happen while run ${state.run} is ${phase}`,
      };
  }
}
