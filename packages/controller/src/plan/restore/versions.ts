import { compareVersions, type HostName, majorOf, parseVersion } from "@belay/shared";
import type { Cluster, Host } from "../../inventory/fleet.js";
import type { Reasons } from "../reasons.js";
import type { RestoreInput } from "./input.js";

/** A host that a restore touches, with the version it has. */
export interface Touched {
  readonly host: Host;
  readonly name: HostName;
  readonly version: string;
}

/** A host that must take part, or null, with the reason why it can't. */
export function findTouched({ facts }: RestoreInput, host: Host, reasons: Reasons): Touched | null {
  const fact = facts.hosts[host.name];
  const version = parseVersion(fact?.version ?? "");
  if (fact?.reachable !== true) {
    reasons.block({
      code: "host-unreachable",
      subject: host.name,
      message: `${host.name} can't be reached, and takes part in this restore`,
      hint: `Bring its agent back. A host that is gone for good is set aside: belay host quarantine ${host.name}.`,
    });
    return null;
  }
  if (version === null) {
    reasons.block({
      code: "host-version-unknown",
      subject: host.name,
      message: `nothing is known to be installed on ${host.name}`,
      hint: "Lay the version that made the backup out on it first (docs/operations.md), then restore.",
    });
    return null;
  }
  return { host, name: host.name, version };
}

/** I3: a restore goes back over a major at most, and never forward. Answers whether it may. */
export function mayGoBack({ name, version }: Touched, to: string, backup: string, reasons: Reasons): boolean {
  if (compareVersions(version, to) < 0) {
    reasons.block({
      code: "backup-newer",
      subject: name,
      message: `${backup} was made by ${to}, and ${name} has ${version}, which can't read what is newer`,
      hint: `Upgrade ${name} to ${to} first, then restore.`,
    });
    return false;
  }
  if (majorOf(version) - majorOf(to) <= 1) return true;
  reasons.block({
    code: "backup-too-old",
    subject: name,
    message: `${backup} was made by ${to}, more than one major before the ${version} that ${name} has`,
    hint: "Roll back the runs in between first (belay run rollback RUN): they know all that goes back together.",
  });
  return false;
}

/** I1 and I2: what would be ahead of the auths that go back, or left too far behind by them, and stays so by consent alone. */
export function askForStranded(input: RestoreInput, cluster: Cluster, to: string, reasons: Reasons): void {
  const floor = majorOf(to);
  const majorIn = (host: HostName) => {
    const version = parseVersion(input.facts.hosts[host]?.version ?? "");
    return version === null ? null : majorOf(version);
  };
  for (const { name, roles } of cluster.hosts) {
    const major = majorIn(name);
    if (roles[0] === "auth" || major === null || major <= floor) continue;
    reasons.ask({
      code: "left-behind",
      subject: name,
      message: `${name} has major ${major}, and the auths that serve it go back to ${to}`,
      hint: "To take all of them back together, roll back the run that upgraded them: belay run rollback RUN.",
    });
  }
  const servingIn = ({ hosts }: Cluster) =>
    hosts.filter(({ roles }) => roles[0] !== "node").flatMap(({ name }) => majorIn(name) ?? []);
  for (const leaf of input.fleet.clusters.filter(({ trusts }) => trusts === cluster.name)) {
    if (!servingIn(leaf).some((major) => major > floor)) continue;
    reasons.ask({
      code: "left-behind",
      subject: leaf.name,
      message: `${leaf.name} would be ahead of ${cluster.name}, which it trusts and which goes back to ${to}`,
      hint: "Roll back the run that upgraded both: belay run rollback RUN.",
    });
  }
  const root = input.fleet.clusters.find(({ name }) => name === cluster.trusts);
  const server = parseVersion(input.facts.managed[root?.name ?? ""]?.server_version ?? "");
  const rootMajors = root === undefined ? [] : server === null ? servingIn(root) : [majorOf(server)];
  if (!rootMajors.some((major) => major - floor > 1)) return;
  reasons.ask({
    code: "left-behind",
    subject: cluster.name,
    message: `${cluster.name} would be more than one major behind ${root?.name}, which it trusts`,
  });
}
