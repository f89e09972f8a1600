import { type ClusterName, compareVersions, type HostName, majorOf, parseVersion, type Role } from "@belay/shared";
import type { Cluster, Host } from "../inventory/fleet.js";
import type { HostFact, PlanInput } from "./input.js";
import type { PlanHost } from "./plan.js";
import { listNames, type Reasons } from "./reasons.js";

/**
 * What a plan does with a host. `moves`: it is below the target and goes there. `there`: it has the target already. The
 * others stay as they are, and the invariants of the whole fleet must hold with them as they are.
 */
export type Stance = "moves" | "there" | "ahead" | "quarantined" | "out-of-scope";

/** What a plan takes over of what a host said of itself. */
export type Seen = Pick<PlanHost, "platform" | "definition">;

/** A declared host and what is known of it. */
export interface Surveyed {
  readonly name: HostName;
  readonly cluster: Cluster;
  readonly host: Host;
  /** The role in whose stage it goes, and by which it counts in I1. */
  readonly role: Role;
  /** Null only for hosts that stay: nothing moves from an unknown version. */
  readonly version: string | null;
  readonly seen: Seen;
  readonly stance: Stance;
}

/** A host that moves has a version. */
export interface Mover extends Surveyed {
  readonly version: string;
}

export interface Survey {
  /** Every declared host, in the order of the fleet file. */
  readonly hosts: readonly Surveyed[];
  readonly movers: readonly Mover[];
  /** Declared hosts that stay as they are. */
  readonly fixed: readonly Surveyed[];
  readonly quarantined: readonly { readonly host: HostName; readonly reason: string }[];
  readonly undeclared: readonly HostName[];
}

/** Looks at every declared host once and says what the plan does with it. Hosts that can't be judged are reported. */
export function surveyFleet(input: PlanInput, to: string, reasons: Reasons): Survey {
  const aside = new Map(input.quarantine.map(({ host, reason }) => [host, reason]));
  const inScope = scopeOf(input);
  const hosts: Surveyed[] = [];
  for (const cluster of input.fleet.clusters) {
    for (const host of cluster.hosts) {
      const fact = input.facts.hosts[host.name];
      const version = parseVersion(fact?.version ?? "");
      const stance = stanceOf(input, host, version, to, { aside, inScope: inScope(cluster.name, host.name) }, reasons);
      hosts.push({
        name: host.name,
        cluster,
        host,
        role: host.roles[0],
        version,
        seen: seenOf(fact),
        stance,
      });
    }
  }
  checkNames(input, hosts, reasons);
  const declared = new Set(hosts.map((host) => host.name));
  return {
    hosts,
    movers: hosts.filter((host): host is Mover => host.stance === "moves" && host.version !== null),
    fixed: hosts.filter((host) => host.stance !== "moves"),
    quarantined: hosts
      .filter((host) => host.stance === "quarantined")
      .map(({ name }) => ({ host: name, reason: aside.get(name) ?? "" })),
    undeclared: Object.keys(input.facts.hosts)
      .filter((name) => !declared.has(name))
      .sort(),
  };
}

interface Setting {
  readonly aside: Map<HostName, string>;
  readonly inScope: boolean;
}

function stanceOf(
  { fleet, facts }: PlanInput,
  { name }: Host,
  version: string | null,
  to: string,
  { aside, inScope }: Setting,
  reasons: Reasons,
): Stance {
  if (aside.has(name)) return "quarantined";
  if (!inScope) return "out-of-scope";
  const fact = facts.hosts[name];
  const stays = version !== null && compareVersions(version, to) >= 0;
  if (fact !== undefined && !fact.reachable && !stays) {
    if (fleet.offline === "quarantine") {
      aside.set(name, "offline when the plan was made");
      return "quarantined";
    }
    reasons.block({
      code: "host-unreachable",
      subject: name,
      message: `${name} can't be reached`,
      hint: `Bring its agent back, set it aside with --quarantine ${name}, or declare \`offline: quarantine\`.`,
    });
  } else if (version === null) {
    reasons.block({
      code: "host-version-unknown",
      subject: name,
      message: fact?.version
        ? `${name} says it runs "${fact.version}", which is no version`
        : `nothing is known of what ${name} runs`,
      hint: `Start its agent and plan again, or set it aside with --quarantine ${name}.`,
    });
  }
  if (version === null || !stays) return "moves";
  return compareVersions(version, to) > 0 ? "ahead" : "there";
}

/** The filter that --cluster and --limit make together: a host must pass both. */
function scopeOf({ clusters, limit }: PlanInput): (cluster: ClusterName, host: HostName) => boolean {
  const [chosenClusters, chosenHosts] = [new Set(clusters), new Set(limit)];
  return (cluster, host) =>
    (chosenClusters.size === 0 || chosenClusters.has(cluster)) && (chosenHosts.size === 0 || chosenHosts.has(host));
}

/** People's lists must name what is declared; a slip would silently plan something else. */
function checkNames(input: PlanInput, hosts: readonly Surveyed[], reasons: Reasons): void {
  const known = {
    cluster: new Set(input.fleet.clusters.map((cluster) => cluster.name)),
    host: new Set(hosts.map((host) => host.name)),
  };
  const asked = [
    ...input.clusters.map((name) => ["cluster", name, "--cluster"] as const),
    ...input.limit.map((name) => ["host", name, "--limit"] as const),
    ...input.quarantine.map(({ host }) => ["host", host, "--quarantine"] as const),
  ];
  for (const [kind, name, option] of asked) {
    if (known[kind].has(name)) continue;
    reasons.block({
      code: "scope-unknown",
      subject: name,
      message: `${option} names ${kind} "${name}", which the fleet does not declare`,
      hint: `Declared: ${listNames([...known[kind]])}.`,
    });
  }
}

/** What a host runs on, where the commonest stands in for what isn't known, and how its service is defined, if that is known. */
export function seenOf(fact: HostFact | undefined): Seen {
  const platform = {
    os: fact?.os ?? "linux",
    arch: fact?.arch ?? "amd64",
    edition: fact?.edition ?? "oss",
    fips: fact?.fips ?? false,
  };
  return fact?.definition === undefined ? { platform } : { platform, definition: fact.definition };
}

/** Lowest major that moves; the target's own when all of it is inside that major. */
export function lowestMajor(movers: readonly Mover[]): number {
  return movers.reduce((lowest, { version }) => Math.min(lowest, majorOf(version)), Number.POSITIVE_INFINITY);
}
