import { leftBehind } from "./order.js";
import type { Guard, Refusal } from "./refusal.js";
import type { RunState, StageRecord } from "./state.js";
import { hostsOf, programOf, STOP_BATCH } from "./steps.js";

/** What the run as a whole asks of its events: plan order (I3), gates (I6), the lease (I13), and one end. */
export const runGuards = {
  "run-started": () => ({ code: "run-already-started", message: "run-started can only be the first event" }),

  "lease-taken": (state, { fence }) =>
    fence >= state.fence
      ? null
      : { code: "fence-too-low", message: `fence ${fence} is older than ${state.fence}, under which the run is led` },

  "stage-started": (state, { stage }) => {
    const next = state.stages[state.current];
    if (next?.stage.id !== stage) return outOfOrder(state, stage);
    const { gate } = next.stage;
    if (gate !== null && !state.check && state.gates.get(gate.id)?.passed == null) {
      return { code: "gate-not-passed", message: `stage ${stage} lies behind gate ${gate.id}, which was not passed` };
    }
    if (leftBehind(state).length > 0) {
      return { code: "left-behind", message: `hop ${next.hop.id} would leave hosts more than one major behind` };
    }
    return null;
  },

  "batch-started": (state, { stage, batch }) => {
    const record = state.stages[state.current];
    if (record?.stage.id !== stage) return outOfOrder(state, stage);
    if (nextBatch(record) !== batch) {
      return { code: "batch-out-of-order", message: `batch ${batch} of ${stage} is not the next one` };
    }
    const lost = hostsOf(record.stage, batch).find((host) => programOf(state.plan, record.stage, host, batch) === null);
    if (lost !== undefined) {
      return { code: "program-unknown", message: `the plan has no program for ${lost} in stage ${stage}` };
    }
    return batchUnfinished(state);
  },

  "stage-finished": (state, { stage }) => {
    const record = state.stages[state.current];
    if (record?.stage.id !== stage) return outOfOrder(state, stage);
    if (nextBatch(record) !== null) {
      return { code: "batch-out-of-order", message: `stage ${stage} has batches that were not started` };
    }
    return batchUnfinished(state);
  },

  "pause-asked": () => null,
  resumed: () => null,
  "abort-asked": () => null,

  "run-ended": (state, { result }) => {
    if (state.ending === null) {
      const whole = result === "done" && state.current === state.stages.length;
      return whole ? null : { code: "run-unfinished", message: `run ${state.run} has stages that were not finished` };
    }
    if (result !== state.ending.result) {
      return { code: "result-mismatch", message: `the run is ending as ${state.ending.result}, not as ${result}` };
    }
    return state.inFlight.size === 0
      ? null
      : { code: "steps-in-flight", message: `${state.inFlight.size} steps are still in flight` };
  },
} satisfies { [T in RunEventType]?: Guard<T> };

type RunEventType =
  | "run-started"
  | "lease-taken"
  | "stage-started"
  | "batch-started"
  | "stage-finished"
  | "pause-asked"
  | "resumed"
  | "abort-asked"
  | "run-ended";

/** The batch of this stage that comes next, the stop list before all others (I5); null: there is none. */
export function nextBatch({ stage, batch }: StageRecord): number | null {
  if (batch === null && stage.stop.length > 0) return STOP_BATCH;
  const next = (batch ?? STOP_BATCH) + 1;
  return next < stage.batches.length ? next : null;
}

/** Has every host of the batch at work come to its end, and is every failure in it answered? */
export function isBatchFinished({ batch }: RunState): boolean {
  return batch === null || (batch.open === 0 && batch.failed.size === 0);
}

function batchUnfinished(state: RunState): Refusal | null {
  if (isBatchFinished(state)) return null;
  return { code: "batch-unfinished", message: `batch ${state.batch?.index} has hosts that are not finished` };
}

function outOfOrder(state: RunState, stage: string): Refusal {
  const next = state.stages[state.current]?.stage.id ?? "none";
  return { code: "stage-out-of-order", message: `stage ${stage} is not the one to work on: that is ${next}` };
}
