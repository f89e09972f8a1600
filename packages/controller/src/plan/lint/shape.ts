import { digestOf, type HostName, isOlder, isPrerelease, parseVersion, type Role } from "@belay/shared";
import type { FleetFacts } from "../input.js";
import type { Hop, Plan, Stage } from "../plan.js";
import type { DeclaredFleet } from "./declared.js";
import type { Findings } from "./finding.js";
import { onlyStarts, programNamed } from "./programs.js";

/** What can be said against a plan without carrying it out. */
export function checkShape(plan: Plan, fleet: DeclaredFleet, facts: FleetFacts, findings: Findings): void {
  const { id, ...content } = plan;
  // What is approved is what runs: an id that names other content would carry somebody else's approvals (I6).
  if (digestOf(content) !== id) findings.add("I6", "plan", id, "the plan's id is not the digest of its content");
  checkVersions(plan, findings);
  checkBackups(plan, fleet, findings);
  checkHosts(plan, fleet, facts, findings);
  const aside = asideOf(plan);
  for (const hop of plan.hops) {
    const moved = new Set<HostName>();
    for (const stage of hop.stages) {
      checkStage(plan, stage, hop, { moved, aside }, findings);
    }
  }
  if (plan.kind === "upgrade") checkEnd(plan, fleet, facts, aside, findings);
}

/** What people declared of backups is what hosts are asked to do; a plan from before there was a choice says nothing. */
function checkBackups({ backups }: Plan, { backups: declared }: DeclaredFleet, findings: Findings): void {
  if (backups === undefined) return;
  const same =
    backups.keep === declared.keep &&
    backups.maxAgeMs === declared.maxAgeMs &&
    (backups.copy?.to ?? "none") === declared.copy &&
    (backups.copy?.recipients ?? []).join(" ") === declared.recipients.join(" ");
  if (!same) findings.add("shape", "plan", "backups", "the plan's policy of backups is not the fleet's");
}

/** I11: pre-releases never enter production unless a person accepted that by name. */
function checkVersions({ hops, to, environment, risks, kind }: Plan, findings: Findings): void {
  for (const hop of hops) {
    for (const version of new Set([hop.to, ...Object.values(hop.targets ?? {})])) {
      if (parseVersion(version) !== version) findings.add("I11", hop.id, version, `"${version}" is not a version`);
      else if (kind === "upgrade" && environment === "production" && isPrerelease(version)) {
        const accepted = risks.some(
          (risk) => risk.code === "prerelease-refused" && risk.subject === version && risk.accepted !== undefined,
        );
        if (!accepted) findings.add("I11", hop.id, version, `${version} is a pre-release that nobody accepted`);
      }
    }
  }
  const last = hops.at(-1);
  if (last !== undefined && last.to !== to) findings.add("shape", last.id, to, `the last hop goes to ${last.to}`);
}

/** Every host of the plan is declared, as declared, and as its facts have it. */
function checkHosts(plan: Plan, fleet: DeclaredFleet, facts: FleetFacts, findings: Findings): void {
  const declared = new Map(
    fleet.clusters.flatMap(({ name, hosts }) => hosts.map((host) => [host.name, { cluster: name, host }] as const)),
  );
  for (const [name, host] of Object.entries(plan.hosts)) {
    const known = declared.get(name);
    if (known === undefined) findings.add("shape", "plan", name, `nobody declared ${name}`);
    else if (known.cluster !== host.cluster || known.host.roles[0] !== host.role) {
      findings.add("shape", "plan", name, `${name} is declared as ${known.host.roles[0]} of ${known.cluster}`);
    }
    const version = facts.hosts[name]?.version ?? null;
    if (version === null || parseVersion(version) !== host.version) {
      findings.add("shape", "plan", name, `the plan takes ${name} to be at ${host.version}; its facts say ${version}`);
    }
  }
}

function checkStage(
  plan: Plan,
  stage: Stage,
  hop: Hop,
  { moved, aside }: { readonly moved: Set<HostName>; readonly aside: ReadonlySet<HostName> },
  findings: Findings,
): void {
  const moving = stage.kind === "auth" || stage.kind === "proxy" || stage.kind === "node";
  if (moving && !onlyStarts(plan, stage)) checkGate(stage, findings);
  for (const name of stage.batches.flat()) {
    const host = plan.hosts[name];
    if (host === undefined) findings.add("shape", stage.id, name, `${name} is not among the plan's hosts`);
    else if (host.cluster !== stage.cluster) findings.add("shape", stage.id, name, `${name} is of ${host.cluster}`);
    if (aside.has(name)) findings.add("shape", stage.id, name, `${name} is to be left as it is`);
    if (!moving) continue;
    if (moved.has(name)) findings.add("shape", stage.id, name, `${name} moves twice in ${hop.id}`);
    moved.add(name);
    if (host !== undefined && host.role !== stage.kind) {
      findings.add("shape", stage.id, name, `${name} goes with ${host.role}, its earliest role`);
    }
  }
  for (const name of stage.stop) {
    if (plan.hosts[name] === undefined) findings.add("shape", stage.id, name, `${name} is not among the plan's hosts`);
  }
  checkPrograms(plan, stage, findings);
  if (stage.kind === "fetch") checkArtifacts(plan, stage, hop, findings);
}

/** I6: what changes a host stands behind a gate of its own that asks for somebody. */
function checkGate({ id, gate }: Stage, findings: Findings): void {
  if (gate === null) findings.add("I6", id, id, "there is no gate in front of it");
  else if (gate.approvals < 1) findings.add("I6", id, id, "its gate asks for no approval");
}

function checkPrograms(plan: Plan, { id, program, stop, batches }: Stage, findings: Findings): void {
  const roles = new Set<Role>();
  for (const batch of batches) {
    for (const name of batch) {
      const role = plan.hosts[name]?.role;
      if (role !== undefined) roles.add(role);
    }
  }
  const asked = [
    ...[...roles].map((role) => [program, role] as const),
    ...(stop.length > 0 ? [["stop", "auth"] as const] : []),
  ];
  for (const [name, role] of asked) {
    if (programNamed(plan, name, role).length > 0) continue;
    findings.add("shape", id, name, `the plan has no program "${name}" for ${role}`);
  }
}

function checkArtifacts(plan: Plan, stage: Stage, hop: Hop, findings: Findings): void {
  const known = new Set(plan.releases[hop.to]?.map(platformKey));
  for (const name of stage.batches.flat()) {
    const platform = plan.hosts[name]?.platform;
    if (platform === undefined || known.has(platformKey(platform))) continue;
    findings.add("shape", stage.id, name, `the plan holds no artifact of ${hop.to} for ${name}`);
  }
}

/** Nobody in scope is forgotten: every host below the target that is not set aside ends there. */
function checkEnd(
  plan: Plan,
  fleet: DeclaredFleet,
  facts: FleetFacts,
  aside: ReadonlySet<HostName>,
  findings: Findings,
): void {
  const arrived = new Set<HostName>();
  for (const stage of plan.hops.at(-1)?.stages ?? []) {
    if (stage.kind === "auth" || stage.kind === "proxy" || stage.kind === "node") {
      for (const name of stage.batches.flat()) arrived.add(name);
    }
  }
  for (const { name } of fleet.clusters.flatMap((cluster) => cluster.hosts)) {
    const version = parseVersion(facts.hosts[name]?.version ?? "");
    if (version === null || parseVersion(plan.to) === null) continue;
    if (aside.has(name) || arrived.has(name) || !isOlder(version, plan.to)) continue;
    findings.add("shape", "plan", name, `${name} is in scope, and does not end at ${plan.to}`);
  }
}

/** Declared hosts that the plan itself says it leaves as they are. */
function asideOf(plan: Plan): ReadonlySet<HostName> {
  return new Set([...plan.quarantined.map(({ host }) => host), ...plan.ahead, ...plan.outOfScope]);
}

function platformKey(platform: { os: string; arch: string; edition: string; fips: boolean }): string {
  return [platform.os, platform.arch, platform.edition, platform.fips].join(" ");
}
