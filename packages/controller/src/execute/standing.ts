import type { HostFacts } from "@belay/shared";
import { majorOf } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import { indexPlan, isMoving, type PlanIndex, targetOf, versionBefore } from "../plan/program.js";
import type { RollbackInput } from "../plan/rollback.js";
import type { RunState } from "../run/state.js";

/** Where a run has brought its hosts, as planning the way back asks for it. */
export type Standing = Pick<RollbackInput, "stage" | "progress" | "crossed" | "stopped">;

/**
 * Reads off a run's state what it has moved, crossed and stopped. Where the run itself can't say (a swap that failed
 * half-way, or whose outcome is unknown) the host's own facts decide; for a run that is long over (`past`) they decide
 * of every host, because others may have moved it since. Pure.
 */
export function standingOf(state: RunState, factsOf: (host: string) => HostFacts | null, past: boolean): Standing {
  const { plan } = state;
  const index = indexPlan(plan);
  const doubtful = past ? new Set(Object.keys(plan.hosts)) : doubtfulHosts(state);
  const progress: Record<string, { version: string; hop: string | null }> = {};
  for (const host of Object.keys(plan.hosts)) {
    const record = state.hosts.get(host);
    const version =
      (doubtful.has(host) ? factsOf(host)?.installed : null) ?? record?.reached ?? plan.hosts[host]?.version;
    if (version !== undefined) progress[host] = { version, hop: lastHopTo(index, host, version) };
  }
  return {
    stage: lastMovingStage(state),
    progress,
    crossed: crossings(state, index, progress, doubtful, factsOf),
    stopped: stoppedAuths(state, progress),
  };
}

function doubtfulHosts(state: RunState): Set<string> {
  const failed = [...state.hosts.values()].filter((one) => one.failed + one.unreachable > 0).map(({ host }) => host);
  const unknown = [...state.unknown.values()].map(({ host }) => host);
  return new Set([...(state.batch?.failed.keys() ?? []), ...state.setAside, ...failed, ...unknown]);
}

/** The newest hop that took the host to the version it has; null: it has not moved. */
function lastHopTo(index: PlanIndex, host: string, version: string): string | null {
  const moved = (index.moves.get(host) ?? []).filter((at) => {
    const hop = index.plan.hops[at];
    return hop !== undefined && targetOf(hop, host) === version;
  });
  return index.plan.hops[moved.at(-1) ?? -1]?.id ?? null;
}

/** The stage that a rollback of a stage or a hop is about: the last one, begun or done, in which hosts move. */
function lastMovingStage(state: RunState): string {
  const begun = state.stages.filter(({ stage, status }) => isMoving(stage) && status !== "pending");
  return (begun.at(-1) ?? state.stages[state.current] ?? state.stages.at(-1))?.stage.id ?? "";
}

/** Auths that took their backend over a major, or may have: those that failed in it and are not back in health. */
function crossings(
  state: RunState,
  index: PlanIndex,
  progress: Standing["progress"],
  doubtful: ReadonlySet<string>,
  factsOf: (host: string) => HostFacts | null,
): Standing["crossed"] {
  const { plan } = state;
  return state.stages.flatMap(({ stage, hop, hopIndex, status }) => {
    if (stage.kind !== "auth" || status === "pending") return [];
    return stage.batches.flat().flatMap((host) => {
      const from = versionBefore(index, host, hopIndex);
      if (majorOf(from) === majorOf(targetOf(hop, host))) return [];
      const facts = factsOf(host);
      const backAgain = facts?.running === from && facts.healthy;
      const crossed = hopAt(plan, progress[host]?.hop) >= hopIndex || (doubtful.has(host) && !backAgain);
      return crossed ? [{ hop: hop.id, cluster: stage.cluster, host }] : [];
    });
  });
}

/** Auths that were stopped for another to cross and have not come up at its version since. */
function stoppedAuths(state: RunState, progress: Standing["progress"]): string[] {
  return state.stages.flatMap(({ stage, hopIndex, status }) =>
    status === "pending" ? [] : stage.stop.filter((host) => hopAt(state.plan, progress[host]?.hop) < hopIndex),
  );
}

/** Position of a hop in the plan; -1 for none. */
function hopAt(plan: Plan, hop: string | null | undefined): number {
  return plan.hops.findIndex(({ id }) => id === hop);
}
