import { type ClusterName, compareVersions, majorOf, parseVersion } from "@belay/shared";
import type { Cluster } from "../inventory/fleet.js";
import type { Release } from "../releases/catalogue.js";
import { checkSkew } from "./agents.js";
import { chooseArtifacts } from "./artifacts.js";
import { planBackups } from "./backups.js";
import { amountOf } from "./batches.js";
import { checkAgainstFixed, reportSkew } from "./compat.js";
import { finish } from "./finish.js";
import type { PlanInput } from "./input.js";
import { inTrustOrder, withRoots } from "./order.js";
import { type Leg, layPath, type Move } from "./path.js";
import { atOnce, type Pieces } from "./pieces.js";
import type { Hop, Plan, PlanCluster, PlanHost, PlanResult } from "./plan.js";
import { Reasons } from "./reasons.js";
import { gatedStart } from "./seal.js";
import { stagesOf } from "./stages.js";
import { lowestMajor, type Mover, type Survey, surveyFleet } from "./survey.js";
import { chooseStops, chooseTarget } from "./target.js";

/**
 * Plans an upgrade: which versions, in which order, how many at a time, behind which gates. Pure: the same input gives
 * the same plan, to the byte. Answers a plan (with no hops when there is nothing to do), or every reason why not.
 */
export function planUpgrade(input: PlanInput): PlanResult {
  return atOnce(upgradePlan(input));
}

/** As `planUpgrade`, piece by piece. */
export function* upgradePlan(input: PlanInput): Pieces<PlanResult> {
  const reasons = new Reasons(input.acceptRisks);
  const target = chooseTarget(input, reasons);
  if (target === null) return refuse(input, reasons);

  const survey = surveyFleet(input, target.version, reasons);
  refuseDowngrade(survey, target, reasons);
  const servers = readTenants(input, survey, target, reasons);

  const legs = layLegs(input, survey, target, reasons);
  reportSkew(survey, servers, reasons);
  checkAgainstFixed(survey, legs, servers, reasons);
  const releases = chooseArtifacts(legs, input.catalogue, reasons);

  checkSkew(input, survey.movers, target.version, reasons);

  reasons.blockUnusedAcceptances();
  if (reasons.blocked.length > 0) return refuse(input, reasons);

  const draft = assemble(input, survey, target, legs, servers, releases, reasons);
  const plan = yield* finish(draft, input, reasons);
  return plan === null ? refuse(input, reasons) : { ok: true, plan };
}

function refuse({ to }: PlanInput, { blocked, risks }: Reasons): PlanResult {
  return { ok: false, to: parseVersion(to) ?? to, blocked, risks };
}

/** A host ahead of the target is left alone; when all of them are, somebody wants to go back. */
function refuseDowngrade({ hosts }: Survey, { version }: Release, reasons: Reasons): void {
  const judged = hosts.filter(({ stance }) => stance !== "quarantined" && stance !== "out-of-scope");
  if (judged.length === 0 || judged.some(({ stance }) => stance !== "ahead")) return;
  reasons.block({
    code: "downgrade-refused",
    subject: version,
    message: `everything here is ahead of ${version} already`,
    hint: "To go back to what ran before an upgrade: `belay run rollback RUN`, which knows its backups.",
  });
}

/**
 * What the tenants of managed clusters serve: nodes follow it and never pass it. Also of managed clusters that others
 * trust, since those must not pass it either (I2).
 */
function readTenants(
  { fleet, facts }: PlanInput,
  survey: Survey,
  { version: to }: Release,
  reasons: Reasons,
): Map<ClusterName, string> {
  const clusters = new Map(fleet.clusters.map((cluster) => [cluster.name, cluster]));
  const moving = new Set(survey.movers.map(({ cluster }) => cluster));
  const concerned = new Set([...moving].flatMap((cluster) => withRoots(cluster, clusters)));
  const servers = new Map<ClusterName, string>();
  for (const cluster of fleet.clusters) {
    if (cluster.managed === undefined) continue;
    const server = parseVersion(facts.managed[cluster.name]?.server_version ?? "");
    if (server !== null) servers.set(cluster.name, server);
    else if (concerned.has(cluster)) {
      reasons.block({
        code: "managed-version-unknown",
        subject: cluster.name,
        message: `nobody knows which version ${cluster.managed.address} serves`,
        hint: "Make it reachable from belayd, or say it in facts.json under `managed`.",
      });
    }
    if (server !== null && moving.has(cluster) && compareVersions(server, to) < 0) {
      reasons.block({
        code: "managed-too-old",
        subject: cluster.name,
        message: `${cluster.managed.address} serves ${server}, and nodes must not be ahead of it at ${to}`,
        hint: `Wait until the vendor has upgraded it, or plan the other clusters with --cluster.`,
      });
    }
  }
  return servers;
}

/** One major at a time, from the lowest that moves to the target (I3). */
function layLegs(input: PlanInput, { movers }: Survey, target: Release, reasons: Reasons): Leg[] {
  const lowest = movers.length === 0 ? majorOf(target.version) : lowestMajor(movers);
  const stops = chooseStops(input, lowest, target, reasons);
  return layPath(movers, [...stops.map(({ version }) => version), target.version]);
}

function assemble(
  input: PlanInput,
  survey: Survey,
  target: Release,
  legs: readonly Leg[],
  servers: ReadonlyMap<ClusterName, string>,
  releases: Plan["releases"],
  { risks }: Reasons,
): Plan {
  const { fleet, profile } = input;
  const hops = gatedStart(
    fleet,
    legs.map((leg) => layOut(input, survey, leg)),
  );
  return {
    id: "",
    format: 1,
    kind: "upgrade",
    fleet: fleet.fleet,
    product: fleet.product,
    environment: fleet.environment,
    to: target.version,
    clusters: planClusters(fleet.clusters, survey.movers, servers),
    hosts: Object.fromEntries(survey.movers.map((mover) => [mover.name, planHost(mover)])),
    releases,
    hops,
    risks,
    quarantined: survey.quarantined,
    ahead: survey.hosts.filter(({ stance }) => stance === "ahead").map(({ name }) => name),
    undeclared: survey.undeclared,
    outOfScope: survey.hosts.filter(({ stance }) => stance === "out-of-scope").map(({ name }) => name),
    budgetRun: amountOf(fleet.rollout.budgetRun, survey.movers.length),
    vars: { unpackedPerPacked: `${profile.unpackedPerPacked}`, ...profile.vars, ...fleet.vars },
    programs: programsOf(profile.programs, hops),
    backups: planBackups(fleet),
  };
}

/** One leg as a hop: every cluster's stages, roots before the clusters that trust them (I2). */
function layOut({ fleet, profile }: PlanInput, survey: Survey, leg: Leg): Hop {
  const byCluster = new Map<Cluster, Move[]>();
  for (const move of leg.moves) {
    const moves = byCluster.get(move.mover.cluster);
    if (moves === undefined) byCluster.set(move.mover.cluster, [move]);
    else moves.push(move);
  }
  const across = new Set(
    [...survey.fixed, ...survey.movers]
      .filter(({ role, version }) => role === "auth" && version !== null && majorOf(version) >= leg.major)
      .map(({ cluster }) => cluster),
  );
  const stages = inTrustOrder(fleet.clusters).flatMap((cluster) => {
    const moves = byCluster.get(cluster);
    return moves === undefined ? [] : stagesOf({ fleet, cluster, hop: leg.id }, leg, moves, across.has(cluster));
  });
  // A product that changes nothing a backup could bring back has no program for it.
  const wanted = stages.filter(({ kind }) => kind !== "backup" || profile.programs.backup !== undefined);
  return { id: leg.id, from: leg.from, to: leg.to, stages: wanted };
}

/** The clusters that move, and those they trust. */
export function planClusters(
  clusters: readonly Cluster[],
  movers: readonly Pick<Mover, "cluster">[],
  servers: ReadonlyMap<ClusterName, string>,
): Plan["clusters"] {
  const byName = new Map(clusters.map((cluster) => [cluster.name, cluster]));
  const moving = new Set(movers.map(({ cluster }) => cluster));
  const concerned = new Set([...moving].flatMap((cluster) => withRoots(cluster, byName)));
  const entries = [...concerned].map(({ name, trusts, managed, ha, vars }): [ClusterName, PlanCluster] => [
    name,
    {
      ...(trusts === undefined ? {} : { trusts }),
      ...(managed === undefined
        ? {}
        : { managed: { address: managed.address, serverVersion: servers.get(name) ?? "" } }),
      ha,
      vars,
    },
  ]);
  return Object.fromEntries(entries);
}

function planHost({ cluster, host, role, version, seen }: Mover): PlanHost {
  return { cluster: cluster.name, roles: host.roles, role, version, ...seen, vars: host.vars };
}

/** The programs that these hops ask for, and no others, so that the plan's id tells of nothing it does not do. */
export function programsOf(programs: Plan["programs"], hops: readonly Hop[]): Plan["programs"] {
  const stages = hops.flatMap((hop) => hop.stages);
  const asked = new Set(stages.map((stage) => stage.program));
  if (stages.some((stage) => stage.stop.length > 0)) asked.add("stop");
  return Object.fromEntries(Object.entries(programs).filter(([name]) => asked.has(name.replace(/:.*$/, ""))));
}
