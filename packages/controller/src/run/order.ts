import { type ClusterName, type HostName, majorOf, ROLE_ORDER } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import { type RunState, type StageRecord, versionOf } from "./state.js";

/**
 * The stage that would break the order of versions (I1, I2, I5) if this host stayed as it is from now on, or null: what
 * serves others must not stay below them, and what is served must not stay above. Works in both directions, so it holds
 * for rollbacks too. Looks at the stages that are not finished.
 */
export function neededBy(state: RunState, host: HostName): StageRecord | null {
  const planned = state.plan.hosts[host];
  const version = versionOf(state, host);
  if (planned === undefined || version === null || state.check) return null;
  const rank = ROLE_ORDER.indexOf(planned.role);
  const at = majorOf(version);
  for (let index = state.current; index < state.stages.length; index++) {
    const record = state.stages[index];
    if (record === undefined) break;
    const { stage, hop } = record;
    // Left running beside an auth of another major it would ruin the backend that they share (I5).
    if (stage.stop.includes(host)) return record;
    const movedRank = rankOf(stage.kind);
    if (movedRank === null) continue;
    const to = majorOf(hop.to);
    if (stage.cluster === planned.cluster) {
      if (rank < movedRank && at < to) return record;
      if (rank > movedRank && at > to) return record;
      if (rank === 0 && movedRank === 0 && at !== to) return record;
    } else if (rank === 0) {
      if (at < to && isTrusting(state.plan, stage.cluster, planned.cluster)) return record;
      if (at > to && isTrusting(state.plan, planned.cluster, stage.cluster)) return record;
    }
  }
  return null;
}

/**
 * Hosts that Belay itself set aside and that the hop about to start would leave more than one major behind (I1, I3). A
 * budget lets a stage end without them; only a person may let a whole further major go by.
 */
export function leftBehind(state: RunState): HostName[] {
  const next = state.stages[state.current];
  const before = state.stages[state.current - 1];
  if (next === undefined || before === undefined || next.hop === before.hop) return [];
  const to = majorOf(next.hop.to);
  const moving = new Set(next.hop.stages.map(({ cluster }) => cluster));
  return [...state.setAside].filter((host) => {
    const record = state.hosts.get(host);
    const version = versionOf(state, host);
    const cluster = state.plan.hosts[host]?.cluster;
    if (record?.aside?.by !== BELAYD || version === null || cluster === undefined || !moving.has(cluster)) return false;
    return to - majorOf(version) > 1;
  });
}

/** Who decides what no person decided. */
export const BELAYD = "belayd";

function rankOf(kind: string): number | null {
  const rank = (ROLE_ORDER as readonly string[]).indexOf(kind);
  return rank < 0 ? null : rank;
}

/** Does `leaf` trust `root`, directly or through others? */
function isTrusting(plan: Plan, leaf: ClusterName, root: ClusterName): boolean {
  const seen = new Set<ClusterName>();
  for (let at = plan.clusters[leaf]?.trusts; at !== undefined && !seen.has(at); at = plan.clusters[at]?.trusts) {
    if (at === root) return true;
    seen.add(at);
  }
  return false;
}
