import type { RunSummary } from "../api/contract.js";
import { readBack } from "../execute/read-back.js";
import type { Runner, RunSight } from "../execute/runner.js";
import type { Plan } from "../plan/plan.js";
import type { World } from "../run/decision.js";
import { viewOf } from "../run/view.js";
import type { RunRow } from "../store/runs.js";
import type { Services } from "./services.js";

/** A run to look at, be it going on or long over. */
export interface OpenRun {
  readonly id: string;
  readonly plan: Plan;
  /** Null when the run has ended. */
  readonly runner: Runner | null;
  /** See `Runner.look`. */
  look<T>(read: (sight: RunSight) => T): Promise<T>;
}

/** Opens a run by id, prefix or `latest`. One that has ended is folded anew from its log. Throws `run-unknown`. */
export async function openRun(services: Services, name: string): Promise<OpenRun> {
  const row = await services.runs.get(name);
  const runner = services.controller.active(row.id);
  if (runner !== null) return { id: row.id, plan: runner.plan, runner, look: (read) => runner.look(read) };
  const plan = await services.plans.get(row.plan);
  const { state, seq } = await readBack(services.runs, row.id, plan);
  const world: World = {
    isPresent: (host) => services.presence.isPresent(host),
    factsOf: (host) => services.presence.factsOf(host),
    absentSince: (host) => services.presence.absentSince(host),
    holdsLease: false,
  };
  const view = () => viewOf(state, world, row.endedAt ?? services.now(), { lastSeq: seq });
  return { id: row.id, plan, runner: null, look: async (read) => read({ state, world, view }) };
}

export function summaryOf(row: RunRow, status: RunSummary["status"]): RunSummary {
  return {
    id: row.id,
    plan: row.plan,
    kind: row.kind,
    to: row.to,
    check: row.check,
    status,
    result: row.result,
    startedAt: row.startedAt,
    startedBy: row.startedBy,
    endedAt: row.endedAt,
  };
}
