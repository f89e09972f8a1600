import { isBackedOff, mayFlyMore } from "./pace.js";
import type { Guard, Refusal } from "./refusal.js";
import { stepId } from "./steps.js";

/** What steps ask: the right op of the right host at the right time, once (I7), and never too many at once. */
export const stepGuards = {
  "step-intended": (state, event) => {
    const { stage, batch, host, index, attempt, op, at } = event;
    const refuse = (message: string, code = "step-out-of-order"): Refusal => ({
      code,
      message: `step ${event.step}: ${message}`,
    });
    const record = state.stages[state.current];
    if (record?.stage.id !== stage || state.batch?.index !== batch) return refuse("its batch is not the one at work");
    const work = state.batch.work.get(host);
    if (work === undefined) return refuse(`${host} is not in this batch`);
    if (work.status !== "ready" && work.status !== "backing-off") return refuse(`${host} is ${work.status}`);
    if (!isBackedOff(work, at)) return refuse(`${host} may not be tried again yet`, "step-too-early");
    if (index !== work.next || op !== work.program[index]) return refuse(`${host} is to do op ${work.next} next`);
    if (attempt !== work.attempts + 1) return refuse(`the next attempt is ${work.attempts + 1}`);
    if (event.step !== stepId(state.run, stage, host, batch, index, attempt)) {
      return refuse("its name is not the one of this step");
    }
    if (event.deadlineAt <= at) return refuse("its deadline has passed");
    if (!mayFlyMore(state)) return refuse(`${state.inFlight.size} steps are in flight already`, "too-many-in-flight");
    return null;
  },

  "step-ended": (state, { step, outcome }) => {
    if (state.inFlight.has(step)) return null;
    if (state.unknown.has(step)) {
      if (outcome.status !== "unknown") return null;
      return { code: "outcome-repeated", message: `step ${step} has already ended as unknown` };
    }
    return { code: "step-not-open", message: `step ${step} was never intended, or its outcome is known` };
  },
} satisfies { [T in "step-intended" | "step-ended"]?: Guard<T> };
