import { type ClusterName, majorOf } from "@belay/shared";
import type { Leg } from "./path.js";
import { listNames, type Reasons } from "./reasons.js";
import type { Survey, Surveyed } from "./survey.js";

/** Majors that matter to others, of one cluster. */
interface Standing {
  readonly name: ClusterName;
  readonly trusts: ClusterName | undefined;
  readonly shrinks: boolean;
  /** The tenant's version, where auth and proxies are the vendor's. */
  readonly server: string | null;
  readonly hosts: Surveyed[];
  readonly fixed: Surveyed[];
}

const rank = { auth: 0, proxy: 1, node: 2 } as const;

/**
 * Holds the plan against the hosts that stay as they are. Between two hosts that both move, the order of the legs keeps
 * I1 and I2; so only pairs of one that moves and one that stays can break them. What a stay breaks is reported by its
 * cause: set aside (`left-behind`, a person may accept it), or outside --cluster and --limit.
 */
export function checkAgainstFixed(
  survey: Survey,
  legs: readonly Leg[],
  servers: ReadonlyMap<ClusterName, string>,
  reasons: Reasons,
): void {
  const standings = standingsOf(survey, servers);
  for (const leg of legs) {
    for (const standing of standings.values()) {
      const roles = new Set(
        leg.moves
          .filter((move) => move.crosses && move.mover.cluster.name === standing.name)
          .map((move) => move.mover.role),
      );
      if (roles.size === 0) continue;
      checkWithin(standing, roles, leg, reasons);
      checkTrust(standing, standings, roles, leg, reasons);
    }
  }
  const last = legs.at(-1);
  if (last === undefined) return;
  const moving = new Set(last.moves.map((move) => move.mover.cluster.name));
  for (const standing of standings.values()) if (moving.has(standing.name)) checkEnd(standing, last.major, reasons);
}

/** I1 and I5 inside one cluster while the hosts of `roles` cross to the leg's major. */
function checkWithin(standing: Standing, roles: ReadonlySet<Surveyed["role"]>, leg: Leg, reasons: Reasons): void {
  const newAuth = roles.has("auth") && leg.major > highestAuth(standing);
  for (const host of standing.fixed) {
    if (host.version === null) {
      report(host, "lag", `nobody knows what ${host.name} runs, and its cluster goes to ${leg.to}`, reasons);
      continue;
    }
    const major = majorOf(host.version);
    if (major >= leg.major) continue;
    const above = [...roles].filter((role) => rank[role] > rank[host.role]);
    if (above.length > 0) {
      report(
        host,
        "ahead",
        `${above.join(" and ")} of ${standing.name} would go to ${leg.to}, ahead of ${host.role} ${host.name} at ${host.version}`,
        reasons,
      );
    }
    if (host.role === "auth" && roles.has("auth") && standing.shrinks) {
      report(
        host,
        "ahead",
        `auth ${host.name} would go on at ${host.version} on the backend that ${leg.to} migrates`,
        reasons,
      );
    }
    if (newAuth && leg.major - major > 1) {
      report(
        host,
        "lag",
        `${host.name} would stay at ${host.version}, more than one major behind auth at ${leg.to}`,
        reasons,
      );
    }
  }
}

/** I2 between this cluster, whose `roles` cross, and its root and leaves. */
function checkTrust(
  standing: Standing,
  standings: ReadonlyMap<ClusterName, Standing>,
  roles: ReadonlySet<Surveyed["role"]>,
  leg: Leg,
  reasons: Reasons,
): void {
  if (!roles.has("auth") && !roles.has("proxy")) return;
  const root = standing.trusts === undefined ? undefined : standings.get(standing.trusts);
  if (root !== undefined && root.server !== null && majorOf(root.server) < leg.major) {
    reasons.block({
      code: "managed-too-old",
      subject: root.name,
      message: `${standing.name} would go to ${leg.to}, ahead of ${root.name}, which it trusts and which is at ${root.server}`,
      hint: "Wait until the vendor has upgraded it.",
    });
  }
  for (const host of (root?.fixed ?? []).filter(serves)) {
    if (host.version === null || majorOf(host.version) >= leg.major) continue;
    report(
      host,
      "ahead",
      `${standing.name} would go to ${leg.to}, ahead of ${host.name} at ${host.version} of ${root?.name}, which it trusts`,
      reasons,
    );
  }
  if (!roles.has("auth") || leg.major <= highestAuth(standing)) return;
  for (const leaf of standings.values()) {
    if (leaf.trusts !== standing.name) continue;
    const behind = (version: string | null) => version !== null && leg.major - majorOf(version) > 1;
    const message = `would stay more than one major behind ${standing.name}, which ${leaf.name} trusts and which goes to ${leg.to}`;
    if (behind(leaf.server)) {
      reasons.ask({ code: "left-behind", subject: leaf.name, message: `${leaf.name} at ${leaf.server} ${message}` });
    }
    for (const host of leaf.fixed.filter(serves)) {
      if (behind(host.version)) report(host, "lag", `${host.name} at ${host.version} ${message}`, reasons);
    }
  }
}

/** Hosts set aside that end more than one major behind, even where they began so. */
function checkEnd(standing: Standing, major: number, reasons: Reasons): void {
  const auth = standing.hosts.some((host) => host.role === "auth" && host.stance === "moves")
    ? Math.max(major, highestAuth(standing))
    : highestAuth(standing);
  for (const host of standing.fixed) {
    if (host.stance !== "quarantined" || host.version === null || auth - majorOf(host.version) <= 1) continue;
    report(host, "lag", `${host.name} would stay at ${host.version}, more than one major behind auth`, reasons);
  }
}

function report(host: Surveyed, what: "ahead" | "lag", message: string, reasons: Reasons): void {
  if (host.stance === "out-of-scope" && what === "ahead") {
    reasons.block({
      code: "scope-breaks-invariant",
      subject: host.name,
      message,
      hint: `Take ${host.name} into the plan: widen --cluster or --limit.`,
    });
    return;
  }
  const back = host.stance === "quarantined" ? `Bring ${host.name} back` : `Take ${host.name} into the plan`;
  reasons.ask({ code: "left-behind", subject: host.name, message, hint: `${back}, or accept that it is left behind.` });
}

/** Reports each cluster that breaks I1 as it is; the legs bring it back to health, stragglers first. */
export function reportSkew(survey: Survey, servers: ReadonlyMap<ClusterName, string>, reasons: Reasons): void {
  for (const standing of standingsOf(survey, servers).values()) {
    const auths = majorsOf(standing, "auth");
    const proxies = majorsOf(standing, "proxy");
    const [lowAuth, highAuth, lowProxy] = [Math.min(...auths), Math.max(...auths), Math.min(...auths, ...proxies)];
    const skewed = standing.hosts.filter(({ version, role }) => {
      if (version === null) return false;
      const major = majorOf(version);
      const ceiling = role === "node" ? lowProxy : role === "proxy" ? lowAuth : Number.POSITIVE_INFINITY;
      return major > ceiling || highAuth - major > 1;
    });
    if (skewed.length === 0) continue;
    reasons.tell({
      code: "skew-at-start",
      subject: standing.name,
      message: `${standing.name} is out of step already: ${listNames(skewed.map(({ name, role, version }) => `${role} ${name} ${version}`))}`,
      hint: "The plan levels it, the lowest first.",
    });
  }
}

function standingsOf(survey: Survey, servers: ReadonlyMap<ClusterName, string>): Map<ClusterName, Standing> {
  const standings = new Map<ClusterName, Standing>();
  for (const host of survey.hosts) {
    const { name, trusts, ha, managed } = host.cluster;
    const standing = standings.get(name) ?? {
      name,
      trusts,
      shrinks: managed === undefined && ha === "shrink",
      server: servers.get(name) ?? null,
      hosts: [],
      fixed: [],
    };
    standing.hosts.push(host);
    if (host.stance !== "moves") standing.fixed.push(host);
    standings.set(name, standing);
  }
  return standings;
}

/** The highest major of auth as it is before the plan; a tenant's own counts as its auth. */
function highestAuth(standing: Standing): number {
  return Math.max(...majorsOf(standing, "auth"));
}

function majorsOf(standing: Standing, role: "auth" | "proxy"): number[] {
  if (standing.server !== null) return [majorOf(standing.server)];
  return standing.hosts.flatMap((host) => (host.role === role && host.version !== null ? [majorOf(host.version)] : []));
}

function serves(host: Surveyed): boolean {
  return host.role !== "node";
}
