import type { ErrorInfo, HostName } from "@belay/shared";
import { neededBy } from "./order.js";
import type { RunState, StageRecord } from "./state.js";
import { STOP_BATCH } from "./steps.js";
import { wayOutOf } from "./way-out.js";

/** Why a failure stops the run whatever the budgets say. */
export type Hardness = "drift" | "fenced" | "stop" | "auth" | "canary" | "needed";

/** What was said of these hosts is true of no other: the world differs from the plan, or another controller acts. */
const NEVER_TOLERATED = new Set(["drift", "fenced"]);

/** Whatever an agent says of trying again: another try would meet the same world. */
export function isFinal(error: ErrorInfo): boolean {
  return NEVER_TOLERATED.has(error.code);
}

/** Why no budget covers this failure, or null when budgets decide. */
export function hardnessOf(
  state: RunState,
  { stage }: StageRecord,
  batch: number,
  host: HostName,
  error: ErrorInfo,
): Hardness | null {
  if (isFinal(error)) return error.code as Hardness;
  if (batch === STOP_BATCH) return "stop";
  if (stage.kind === "auth") return "auth";
  if (batch < stage.canaries) return "canary";
  return neededBy(state, host) === null ? null : "needed";
}

/**
 * Is a budget passed (I9), or did something fail that none covers? From then on nothing new is dispatched, and when
 * nothing is in flight any more a failure gate opens. In check mode never: every host gets its answer.
 */
export function isSpent(state: RunState): boolean {
  const record = state.stages[state.current];
  const { batch } = state;
  if (batch === null || record === undefined || state.check || batch.failed.size === 0) return false;
  const { budget } = record.stage;
  return (
    batch.hard > 0 ||
    batch.failures > budget.batch ||
    record.failed > budget.stage ||
    state.failures > state.plan.budgetRun
  );
}

/** What to say of a stage that is spent: the failure that no budget covers, else the budget that was passed. */
export function causeOf(state: RunState): ErrorInfo {
  const record = state.stages[state.current];
  const { batch } = state;
  if (record === undefined || batch === null) throw new TypeError("only a stage at work can be spent");
  const { stage } = record;
  for (const { host, error, hard } of batch.failed.values()) {
    if (hard === null) continue;
    return {
      code: hard === "drift" || hard === "fenced" ? hard : `${hard}-failed`,
      message: `${host}: ${error.message} (${WHY_HARD[hard]})`,
      ...hintFor(state, host, error),
      context: { host, error: error.code },
    };
  }
  const hosts = [...batch.failed.keys()].slice(0, NAMED_HOSTS);
  const [last] = [...batch.failed.values()].slice(-1);
  const [scope, failures, budget] =
    batch.failures > stage.budget.batch
      ? ["batch", batch.failures, stage.budget.batch]
      : record.failed > stage.budget.stage
        ? ["stage", record.failed, stage.budget.stage]
        : ["run", state.failures, state.plan.budgetRun];
  return {
    code: "budget-spent",
    message: `${failures} ${failures === 1 ? "host" : "hosts"} failed in this ${scope}, where ${budget} may: ${hosts.join(", ")} (${last?.host}: ${last?.error.message})`,
    ...(last === undefined ? {} : hintFor(state, last.host, last.error)),
    context: { scope, failures, budget, hosts },
  };
}

function hintFor(state: RunState, host: HostName, { hint }: ErrorInfo): { hint?: string } {
  const hints = [hint, wayOutOf(state, host)].filter((one) => typeof one === "string");
  return hints.length === 0 ? {} : { hint: hints.join("; ") };
}

const NAMED_HOSTS = 10;

const WHY_HARD: Readonly<Record<Hardness, string>> = {
  drift: "the host is not as the plan assumed: it is put back as it was, or a new plan is needed",
  fenced: "another controller has taken over",
  stop: "every auth on the list must be stopped before one crosses a major",
  auth: "auth tolerates no failure",
  canary: "a canary tolerates no failure",
  needed: "going on without it would break the order of versions",
};
