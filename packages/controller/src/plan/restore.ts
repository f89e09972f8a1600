import { compareVersions, type HostName, majorOf } from "@belay/shared";
import type { Cluster, Host } from "../inventory/fleet.js";
import { chooseArtifacts } from "./artifacts.js";
import { planBackups } from "./backups.js";
import { finish } from "./finish.js";
import { atOnce } from "./pieces.js";
import type { Plan, PlanHost, PlanResult, Stage } from "./plan.js";
import { planClusters, programsOf } from "./planner.js";
import { Reasons } from "./reasons.js";
import type { RestoreInput } from "./restore/input.js";
import { askForStranded, findTouched, mayGoBack, type Touched } from "./restore/versions.js";
import { lookingBack, readingStage, restoring, returnStages } from "./rollback/stages.js";
import type { Return } from "./rollback/undo.js";
import { gatedStart } from "./seal.js";
import { frame, gateOf, type Place, stageId, together } from "./stages.js";
import { seenOf } from "./survey.js";

export type { RestorableBackup, RestoreInput } from "./restore/input.js";

const HOP = "hop-1";

/**
 * Plans putting one backup back, outside of any rollback. An auth takes the backend with it: every auth of its cluster
 * stops, that one restores and starts alone on the version that made the backup (I5), and the others join on the same.
 * Proxies and nodes get back who they are and how they are set up, and keep their version. Pure, as `planUpgrade` is.
 */
export function planRestore(input: RestoreInput): PlanResult {
  const reasons = new Reasons(input.acceptRisks);
  const { backup, fleet } = input;
  const found = find(input);
  const to = backup.version ?? input.facts.hosts[backup.host]?.version ?? "";
  const refuse = (): PlanResult => ({ ok: false, to, blocked: reasons.blocked, risks: reasons.risks });
  if (found === null) {
    reasons.block({
      code: "scope-unknown",
      subject: backup.host,
      message: `the fleet does not declare ${backup.host}`,
      hint: "Declare it under the name it had; a backup goes back to the host it is of.",
    });
    return refuse();
  }
  if (backup.pruned && backup.copy === null) {
    reasons.block({
      code: "backup-missing",
      subject: backup.host,
      message: `${backup.host} has pruned ${backup.backup}, and no copy of it is left`,
      hint: "`belay backup list` shows what is there.",
    });
  } else if (!backup.verified && backup.copy === null) {
    reasons.block({
      code: "backup-missing",
      subject: backup.host,
      message: `${backup.backup} was never read back whole`,
      hint: `belay backup verify ${backup.host} ${backup.backup}`,
    });
  }
  const place = { fleet, cluster: found.cluster, hop: HOP };
  const restored = findTouched(input, found.host, reasons);
  if (restored === null || !mayGoBack(restored, to, backup.backup, reasons)) return refuse();
  const work =
    found.host.roles[0] === "auth"
      ? restoreAuth(input, place, restored, to, reasons)
      : restoreServing(input, place, restored);
  reasons.blockUnusedAcceptances();
  if (reasons.blocked.length > 0) return refuse();
  const plan = atOnce(finish(assemble(input, found.cluster, restored, work, reasons), input, reasons));
  return plan === null ? refuse() : { ok: true, plan };
}

/** What a restore does: its stages, who takes part, and where those end that don't end at the hop's version. */
interface Work {
  readonly to: string;
  readonly stages: readonly Stage[];
  readonly touched: readonly Touched[];
  readonly releases: Plan["releases"];
}

function restoreAuth(input: RestoreInput, place: Place, restored: Touched, to: string, reasons: Reasons): Work {
  const { backup, copy } = input.backup;
  const aside = new Set(input.quarantine.map(({ host }) => host));
  const touched = [restored];
  for (const host of place.cluster.hosts) {
    if (host === restored.host || host.roles[0] !== "auth") continue;
    if (aside.has(host.name)) askForAside(host.name, place.cluster, reasons);
    else {
      const other = findTouched(input, host, reasons);
      if (other !== null && mayGoBack(other, to, backup, reasons)) touched.push(other);
    }
  }
  if (touched.some(({ version }) => majorOf(version) > majorOf(to))) askForStranded(input, place.cluster, to, reasons);
  const going = touched.filter(({ version }) => version !== to);
  const staying = touched.filter(({ version }) => version === to).map(({ name }) => name);
  const { stages, releases } = fetching(input, place, going, to, reasons);
  const back = returnStages(
    place,
    going.map((one) => returnOf(input, place.cluster, one, to)),
    staying,
    { host: restored.name, backup, copy, safetyBackup: input.safetyBackup },
  );
  const [look, ...rest] = back;
  return {
    to,
    touched,
    releases,
    stages: [look, readingStage(place, input.backup), ...stages, ...rest].filter((one) => one !== undefined),
  };
}

/** It goes on running on a backend that is replaced under it, unless somebody knows that it doesn't run. */
function askForAside(name: HostName, cluster: Cluster, reasons: Reasons): void {
  reasons.ask({
    code: "left-behind",
    subject: name,
    message: `${name} is set aside, so nobody stops it while the backend of ${cluster.name} is put back`,
    hint: "Accept this only when it is certain that it does not run.",
  });
}

function restoreServing(input: RestoreInput, place: Place, restored: Touched): Work {
  const { host, name, version } = restored;
  const [role] = host.roles;
  const id = stageId(place, role);
  const policy = { ...place.fleet.rollout[role], canary: 0 };
  const stage: Stage = {
    ...frame(policy, 1),
    id,
    cluster: place.cluster.name,
    kind: role,
    role,
    batches: [[name]],
    // What was written since the backup is lost behind this gate.
    gate: gateOf(place, id, role, true),
    stop: [],
    ...restoring(input.backup),
    program: input.safetyBackup ? "restore-serving" : "restore-serving-bare",
    parallel: 1,
    canaries: 0,
  };
  const everybody = [name];
  const stages = [
    lookingBack(place, everybody, input.safetyBackup),
    readingStage(place, input.backup),
    stage,
    together(place, "verify", "back-verify", everybody),
  ];
  return { to: version, touched: [restored], releases: {}, stages };
}

/** The stage that brings the old version to those who have not kept it, and the artifacts it needs. */
function fetching(
  { facts, catalogue }: RestoreInput,
  place: Place,
  going: readonly Touched[],
  to: string,
  reasons: Reasons,
): { stages: Stage[]; releases: Plan["releases"] } {
  const without = going.filter(({ name }) => facts.hosts[name]?.kept?.includes(to) !== true);
  if (without.length === 0) return { stages: [], releases: {} };
  const release = catalogue.releases.find(({ version }) => version === to);
  for (const code of ["blocked", "suspect"] as const) {
    const why = release?.[code];
    if (why !== undefined) reasons.ask({ code: `release-${code}`, subject: to, message: `${to} is ${code}: ${why}` });
  }
  const movers = without.map(({ name, version }) => ({ name, version, seen: seenOf(facts.hosts[name]) }));
  const releases = chooseArtifacts([{ to, moves: movers.map((mover) => ({ mover })) }], catalogue, reasons);
  return {
    stages: [
      together(
        place,
        "fetch",
        "fetch",
        movers.map(({ name }) => name),
      ),
    ],
    releases,
  };
}

function returnOf(input: RestoreInput, cluster: Cluster, { host, name, version }: Touched, to: string): Return {
  const crosses = majorOf(version) !== majorOf(to);
  return { name, host: planHost(input, cluster, host, version), from: version, to, crosses };
}

function find({ fleet, backup }: RestoreInput): { cluster: Cluster; host: Host } | null {
  for (const cluster of fleet.clusters) {
    const host = cluster.hosts.find(({ name }) => name === backup.host);
    if (host !== undefined) return { cluster, host };
  }
  return null;
}

function planHost({ facts }: RestoreInput, cluster: Cluster, host: Host, version: string): PlanHost {
  const seen = seenOf(facts.hosts[host.name]);
  return { cluster: cluster.name, roles: host.roles, role: host.roles[0], version, ...seen, vars: host.vars };
}

function assemble(
  input: RestoreInput,
  cluster: Cluster,
  restored: Touched,
  { to, stages, touched, releases }: Work,
  { risks }: Reasons,
): Plan {
  const { fleet, profile, facts, backup } = input;
  const servers = new Map(
    fleet.clusters.flatMap(({ name, managed }) =>
      managed === undefined ? [] : [[name, facts.managed[name]?.server_version ?? ""] as const],
    ),
  );
  const [from = to] = touched.map(({ version }) => version).sort((a, b) => compareVersions(b, a));
  const hops = gatedStart(fleet, [{ id: HOP, from, to, stages }]);
  const hosts = touched.map(({ name, host, version }) => [name, planHost(input, cluster, host, version)] as const);
  return {
    id: "",
    format: 1,
    kind: "restore",
    fleet: fleet.fleet,
    product: fleet.product,
    environment: fleet.environment,
    to,
    clusters: planClusters(fleet.clusters, [{ cluster }], servers),
    hosts: Object.fromEntries(hosts),
    releases,
    hops,
    risks,
    quarantined: input.quarantine.filter(({ host }) => cluster.hosts.some(({ name }) => name === host)),
    ahead: [],
    undeclared: [],
    outOfScope: [],
    budgetRun: 0,
    vars: { unpackedPerPacked: `${profile.unpackedPerPacked}`, ...profile.vars, ...fleet.vars },
    programs: programsOf(profile.programs, hops),
    backups: planBackups(fleet),
    restore: {
      host: restored.name,
      backup: backup.backup,
      takenAt: backup.takenAt,
      safetyBackup: input.safetyBackup,
    },
  };
}
