import type { Cluster } from "../inventory/fleet.js";

/**
 * Clusters with every root before those that trust it, otherwise as declared (I2). Trust that leads to no cluster, or in
 * a circle, is refused when the fleet is parsed; here such a cluster simply comes last.
 */
export function inTrustOrder(clusters: readonly Cluster[]): Cluster[] {
  const leaves = new Map<string | undefined, Cluster[]>();
  for (const cluster of clusters) leaves.set(cluster.trusts, [...(leaves.get(cluster.trusts) ?? []), cluster]);
  const ordered = [...(leaves.get(undefined) ?? [])];
  for (let index = 0; index < ordered.length; index++) ordered.push(...(leaves.get(ordered[index]?.name) ?? []));
  const reached = new Set(ordered);
  return [...ordered, ...clusters.filter((cluster) => !reached.has(cluster))];
}

/** The cluster and all that it trusts, directly or through others. */
export function withRoots(cluster: Cluster, clusters: ReadonlyMap<string, Cluster>): Cluster[] {
  const chain: Cluster[] = [];
  for (let at: Cluster | undefined = cluster; at !== undefined && !chain.includes(at); ) {
    chain.push(at);
    at = at.trusts === undefined ? undefined : clusters.get(at.trusts);
  }
  return chain;
}
