import { type ClusterName, type HostName, majorOf, parseVersion, type Role } from "@belay/shared";
import type { FleetFacts } from "../input.js";
import type { Plan } from "../plan.js";
import type { DeclaredFleet } from "./declared.js";

/** A host as the replay sees it. */
export interface ModelHost {
  readonly name: HostName;
  readonly cluster: ModelCluster;
  readonly role: Role;
  version: string;
  major: number;
  running: boolean;
  /** How far it was ahead of its servers, and too far behind auth, before the plan. A plan must not make that worse. */
  startAhead: number;
  startBehind: number;
}

export interface ModelCluster {
  readonly name: ClusterName;
  readonly trusts: ClusterName | undefined;
  readonly ha: "shrink" | "rolling";
  /** Major of the tenant's own version: it counts as auth and proxy. */
  readonly server: number | null;
  readonly hosts: ModelHost[];
  readonly majors: Readonly<Record<Role, Majors>>;
  /** As `startAhead` and `startBehind`, of a leaf against its root. */
  startAhead: number;
  startBehind: number;
}

/** How many hosts are at each major. There are a handful of majors and thousands of hosts. */
export class Majors {
  readonly #hosts = new Map<number, number>();

  add(major: number): void {
    this.#hosts.set(major, (this.#hosts.get(major) ?? 0) + 1);
  }

  remove(major: number): void {
    const left = (this.#hosts.get(major) ?? 0) - 1;
    if (left > 0) this.#hosts.set(major, left);
    else this.#hosts.delete(major);
  }

  /** Infinity when there are none: nothing limits. */
  get lowest(): number {
    return Math.min(...this.#hosts.keys());
  }

  get highest(): number {
    return Math.max(...this.#hosts.keys());
  }
}

/**
 * The fleet as declared and as the facts have it. Hosts that nobody can judge (no version) or that a person agreed to
 * leave behind are not in it.
 */
export class Model {
  readonly hosts = new Map<HostName, ModelHost>();
  readonly clusters = new Map<ClusterName, ModelCluster>();
  readonly leaves = new Map<ClusterName, ModelCluster[]>();

  constructor(plan: Plan, fleet: DeclaredFleet, facts: FleetFacts) {
    const accepted = new Set(
      plan.risks.filter((risk) => risk.code === "left-behind" && risk.accepted).map((risk) => risk.subject),
    );
    for (const { name, trusts, ha, managed, hosts } of fleet.clusters) {
      const server = parseVersion(facts.managed[name]?.server_version ?? "");
      const cluster: ModelCluster = {
        name,
        trusts,
        ha,
        server: managed === undefined || server === null ? null : majorOf(server),
        hosts: [],
        majors: { auth: new Majors(), proxy: new Majors(), node: new Majors() },
        startAhead: 0,
        startBehind: 0,
      };
      this.clusters.set(name, cluster);
      if (trusts !== undefined && !accepted.has(name)) {
        this.leaves.set(trusts, [...(this.leaves.get(trusts) ?? []), cluster]);
      }
      for (const host of hosts) {
        const version = parseVersion(facts.hosts[host.name]?.version ?? "");
        if (version === null || accepted.has(host.name)) continue;
        this.#place(cluster, host.name, earliest(host.roles), version);
      }
    }
    for (const host of this.hosts.values()) {
      host.startAhead = aheadOfServers(host);
      host.startBehind = behindAuth(host);
    }
    for (const [root, leaves] of this.leaves) {
      for (const leaf of leaves) {
        leaf.startAhead = aheadOfRoot(leaf, this.clusters.get(root));
        leaf.startBehind = behindRoot(leaf, this.clusters.get(root));
      }
    }
  }

  #place(cluster: ModelCluster, name: HostName, role: Role, version: string): void {
    const major = majorOf(version);
    const host = { name, cluster, role, version, major, running: true, startAhead: 0, startBehind: 0 };
    cluster.hosts.push(host);
    cluster.majors[role].add(major);
    this.hosts.set(name, host);
  }
}

/** I1: majors by which a host is ahead of what serves it. Negative is fine, and so is what nothing serves. */
export function aheadOfServers({ cluster, role, major }: ModelHost, at = major): number {
  if (role === "auth") return 0;
  const { auth, proxy } = cluster.majors;
  const ceiling = cluster.server ?? (role === "node" ? Math.min(auth.lowest, proxy.lowest) : auth.lowest);
  return Math.max(0, at - ceiling);
}

/** I1: majors by which a host is further behind auth than the one that is allowed. */
export function behindAuth({ cluster, major }: ModelHost): number {
  return Math.max(0, (cluster.server ?? cluster.majors.auth.highest) - major - 1);
}

/** I2: majors by which a leaf's auth or proxies are ahead of its root's. */
export function aheadOfRoot(leaf: ModelCluster, root: ModelCluster | undefined): number {
  return root === undefined ? 0 : Math.max(0, highestServing(leaf) - lowestServing(root));
}

/** I2: majors by which a leaf is further behind its root than the one that is allowed. */
export function behindRoot(leaf: ModelCluster, root: ModelCluster | undefined): number {
  if (root === undefined) return 0;
  return Math.max(0, (root.server ?? root.majors.auth.highest) - lowestServing(leaf) - 1);
}

function highestServing({ server, majors }: ModelCluster): number {
  return server ?? Math.max(majors.auth.highest, majors.proxy.highest);
}

function lowestServing({ server, majors }: ModelCluster): number {
  return server ?? Math.min(majors.auth.lowest, majors.proxy.lowest);
}

function earliest(roles: readonly Role[]): Role {
  return roles.includes("auth") ? "auth" : roles.includes("proxy") ? "proxy" : "node";
}
