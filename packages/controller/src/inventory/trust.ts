import type { ClusterName } from "@belay/shared";

interface Trusting {
  readonly name: ClusterName;
  readonly trusts?: ClusterName;
}

/**
 * The clusters of every cycle of trust, each cycle once, beginning with its first declared member. Trust that leads
 * nowhere is no cycle.
 */
export function findTrustCycles(clusters: readonly Trusting[]): ClusterName[][] {
  const trusts = new Map(clusters.map((cluster) => [cluster.name, cluster.trusts]));
  const settled = new Set<ClusterName>();
  const cycles: ClusterName[][] = [];
  for (const { name } of clusters) {
    const path: ClusterName[] = [];
    let at: ClusterName | undefined = name;
    while (at !== undefined && !settled.has(at) && !path.includes(at)) {
      path.push(at);
      at = trusts.get(at);
    }
    if (at !== undefined && path.includes(at)) cycles.push(path.slice(path.indexOf(at)));
    for (const member of path) settled.add(member);
  }
  return cycles;
}
