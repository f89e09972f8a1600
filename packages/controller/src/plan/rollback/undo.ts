import { type ClusterName, compareVersions, type HostName, majorOf } from "@belay/shared";
import type { Hop, PlanHost } from "../plan.js";
import { indexPlan, isMoving, versionBefore } from "../program.js";
import type { RollbackInput } from "./input.js";

/** One host on its way back, over one hop of the plan that is undone. */
export interface Return {
  readonly name: HostName;
  readonly host: PlanHost;
  readonly from: string;
  readonly to: string;
  /** True when this takes the host down to another major. */
  readonly crosses: boolean;
}

/** What undoing one hop takes. */
export interface Undo {
  readonly hop: Hop;
  /** Of the rollback's own hop: `hop-1` undoes the newest. */
  readonly id: string;
  /** The lowest version that any host returns to. */
  readonly to: string;
  readonly returns: readonly Return[];
  /** Auths that stay at their version, but were stopped for the one that crossed. */
  readonly restarts: readonly HostName[];
}

/**
 * Which hosts go back over which hops, newest hop first (I3). A host goes back over a hop when it moved in it and is not
 * back already, to the version it had before; so hosts of one hop may return to different versions.
 */
export function undoHops(input: RollbackInput): Undo[] {
  const { plan, progress } = input;
  const index = indexPlan(plan);
  const aside = new Set(input.quarantine.map(({ host }) => host));
  const at = new Map(Object.entries(progress).map(([name, { version }]) => [name, version]));
  const reached = (name: HostName) => plan.hops.findIndex(({ id }) => id === progress[name]?.hop);
  const undos: Undo[] = [];
  for (const [hopIndex, hop] of [...plan.hops.entries()].reverse()) {
    const inScope = scopeOf(input, hop);
    const returns = Object.entries(plan.hosts).flatMap(([name, host]): Return[] => {
      const from = at.get(name);
      if (from === undefined || !inScope.has(name) || aside.has(name)) return [];
      if (!index.moves.get(name)?.includes(hopIndex) || reached(name) < hopIndex) return [];
      const to = versionBefore(index, name, hopIndex);
      if (compareVersions(from, to) <= 0) return [];
      at.set(name, to);
      return [{ name, host, from, to, crosses: majorOf(from) !== majorOf(to) }];
    });
    const restarts = restartsOf(input, hop, inScope, returns);
    if (returns.length === 0 && restarts.length === 0) continue;
    const to = returns.map((one) => one.to).sort(compareVersions)[0] ?? at.get(restarts[0] ?? "") ?? hop.from;
    undos.push({ hop, id: `hop-${undos.length + 1}`, to, returns, restarts });
  }
  return undos;
}

/**
 * Auths to start again: those that the run left stopped, and, where a backend is restored, every auth of that cluster in
 * this hop that had not moved yet, since all of them are stopped for it.
 */
function restartsOf(
  { crossed, stopped, stage: current }: RollbackInput,
  hop: Hop,
  inScope: ReadonlySet<HostName>,
  returns: readonly Return[],
): HostName[] {
  const restoring = new Set(crossed.filter((one) => one.hop === hop.id).map((one) => one.cluster));
  const returning = new Set(returns.map(({ name }) => name));
  const here = hop.stages.some(({ id }) => id === current);
  const auths = hop.stages
    .filter((stage) => stage.kind === "auth")
    .flatMap((stage) =>
      stage.batches.flat().filter((name) => (here && stopped.includes(name)) || restoring.has(stage.cluster)),
    );
  return [...new Set(auths)].filter((name) => inScope.has(name) && !returning.has(name));
}

/** Hosts that the rollback's scope covers in a hop. */
function scopeOf({ plan, scope, stage: current }: RollbackInput, hop: Hop): ReadonlySet<HostName> {
  const here = plan.hops.find(({ stages }) => stages.some((stage) => stage.id === current));
  if (scope !== "run" && hop !== here) return new Set();
  const moving = hop.stages.filter(isMoving);
  if (scope !== "stage") return new Set(moving.flatMap((stage) => stage.batches.flat()));
  const stage = moving.find(({ id }) => id === current);
  if (stage === undefined) return new Set();
  // The auths of one cluster share a backend: they go back together or not at all.
  const together = moving.filter(
    (one) => one === stage || (stage.kind === "auth" && one.kind === "auth" && one.cluster === stage.cluster),
  );
  return new Set(together.flatMap((one) => one.batches.flat()));
}

/** The clusters of an undo with what returns in each. */
export function byCluster(undo: Undo, hosts: Readonly<Record<HostName, PlanHost>>): Map<ClusterName, Return[]> {
  const clusters = new Map<ClusterName, Return[]>();
  for (const name of undo.restarts) clusters.set(hosts[name]?.cluster ?? "", []);
  for (const one of undo.returns) clusters.set(one.host.cluster, [...(clusters.get(one.host.cluster) ?? []), one]);
  return clusters;
}
