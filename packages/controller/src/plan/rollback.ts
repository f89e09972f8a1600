import { type ClusterName, type HostName, majorOf, parseVersion, ROLE_ORDER } from "@belay/shared";
import type { Cluster } from "../inventory/fleet.js";
import { planBackups } from "./backups.js";
import { finish } from "./finish.js";
import { inTrustOrder } from "./order.js";
import { atOnce, type Pieces } from "./pieces.js";
import type { Hop, Plan, PlanHost, PlanResult, Stage } from "./plan.js";
import { programsOf } from "./planner.js";
import { Reasons } from "./reasons.js";
import type { RollbackInput, RunBackup } from "./rollback/input.js";
import { type Restore, readingStage, returnStages } from "./rollback/stages.js";
import { byCluster, type Return, type Undo, undoHops } from "./rollback/undo.js";
import { gatedStart } from "./seal.js";

export type { RollbackInput, RunBackup } from "./rollback/input.js";

/**
 * Plans the way back from a run: the newest hop first, leaf clusters before their root, nodes, proxies, then auth with
 * its backend restored where it crossed a major. Its own gates, the same executor. Pure, as `planUpgrade` is.
 */
export function planRollback(input: RollbackInput): PlanResult {
  return atOnce(rollbackPlan(input));
}

/** As `planRollback`, piece by piece. */
export function* rollbackPlan(input: RollbackInput): Pieces<PlanResult> {
  const reasons = new Reasons(input.acceptRisks);
  const undos = undoHops(input);
  if (undos.length === 0) {
    reasons.block({
      code: "nothing-to-roll-back",
      subject: input.scope === "run" ? input.run : input.stage,
      message: `nothing that this ${input.scope} changed is left to undo`,
      hint: "To undo more, ask for a wider scope: --scope hop or --scope run.",
    });
  }
  checkReachable(input, undos, reasons);
  checkLeftAhead(input, undos, reasons);
  const hops = gatedStart(
    input.fleet,
    undos.map((undo) => layOut(input, undo, reasons)),
  );
  reasons.blockUnusedAcceptances();
  const to = hops.at(-1)?.to ?? input.plan.hops[0]?.from ?? input.plan.to;
  if (reasons.blocked.length > 0) return { ok: false, to, blocked: reasons.blocked, risks: reasons.risks };

  const plan = yield* finish(assemble(input, hops, to, reasons), input, reasons);
  return plan === null ? { ok: false, to, blocked: reasons.blocked, risks: reasons.risks } : { ok: true, plan };
}

function checkReachable({ facts }: RollbackInput, undos: readonly Undo[], reasons: Reasons): void {
  for (const name of undos.flatMap(({ returns, restarts }) => [...returns.map((one) => one.name), ...restarts])) {
    if (facts.hosts[name]?.reachable !== false) continue;
    reasons.block({
      code: "host-unreachable",
      subject: name,
      message: `${name} can't be reached, so it can't go back`,
      hint: `Bring its agent back, or leave it where it is with --quarantine ${name}.`,
    });
  }
}

/** I1 and I2 downwards: what stays at the newer major must not be served by what goes below it. */
function checkLeftAhead(input: RollbackInput, undos: readonly Undo[], reasons: Reasons): void {
  const { fleet, facts } = input;
  const aside = new Set(input.quarantine.map(({ host }) => host));
  const final = new Map(undos.flatMap(({ returns }) => returns.map((one) => [one.name, one.to] as const)));
  const lowest = lowestAfter(undos);
  for (const cluster of fleet.clusters) {
    for (const { name, roles } of cluster.hosts) {
      const version = parseVersion(final.get(name) ?? facts.hosts[name]?.version ?? "");
      if (version === null) continue;
      const above = ROLE_ORDER.slice(0, ROLE_ORDER.indexOf(roles[0])).map((role) =>
        lowest.get(`${cluster.name} ${role}`),
      );
      const shared = roles[0] === "auth" ? [lowest.get(`${cluster.name} auth`)] : [];
      const roots = roles[0] === "node" ? [] : ["auth", "proxy"].map((role) => lowest.get(`${cluster.trusts} ${role}`));
      const floor = Math.min(...[...above, ...shared, ...roots].filter((major) => major !== undefined));
      if (majorOf(version) <= floor) continue;
      const reason = {
        subject: name,
        message: `${name} would stay at ${version} while what it depends on goes back to major ${floor}`,
      };
      const wasSo = input.plan.hosts[name]?.version === version;
      if (aside.has(name) || wasSo) {
        const hint = wasSo ? "It was ahead before this run began, and would be again." : "Bring it back first.";
        reasons.ask({ code: "left-behind", ...reason, hint });
      } else {
        const hint = "Ask for a wider scope, or roll back the run that brought it there first.";
        reasons.block({ code: "scope-breaks-invariant", ...reason, hint });
      }
    }
  }
}

/** The lowest major that hosts go back to over a major, by `cluster role`. */
function lowestAfter(undos: readonly Undo[]): Map<string, number> {
  const lowest = new Map<string, number>();
  for (const { host, to, crosses } of undos.flatMap(({ returns }) => returns)) {
    const key = `${host.cluster} ${host.role}`;
    if (crosses) lowest.set(key, Math.min(lowest.get(key) ?? Number.POSITIVE_INFINITY, majorOf(to)));
  }
  return lowest;
}

/** One hop back: leaf clusters before the root they trust (I2), and what will be put back read before any of them goes. */
function layOut(input: RollbackInput, undo: Undo, reasons: Reasons): Hop {
  const { fleet, plan } = input;
  const returning = byCluster(undo, plan.hosts);
  const reading: Stage[] = [];
  const going = inTrustOrder(fleet.clusters)
    .reverse()
    .flatMap((cluster) => {
      const returns = returning.get(cluster.name);
      if (returns === undefined) return [];
      const restarts = undo.restarts.filter((name) => plan.hosts[name]?.cluster === cluster.name);
      const restore = chooseRestore(input, undo, cluster, returns, restarts, reasons);
      const place = { fleet, cluster, hop: undo.id };
      if (restore !== null) reading.push(readingStage(place, restore));
      return returnStages(place, returns, restarts, restore);
    });
  const others = undo.returns.filter((one) => one.to !== undo.to).map((one) => [one.name, one.to] as const);
  const staying = undo.restarts
    .map((name) => [name, input.progress[name]?.version ?? plan.hosts[name]?.version ?? undo.to] as const)
    .filter(([, version]) => version !== undo.to);
  const targets = Object.fromEntries([...others, ...staying]);
  const hop = { id: undo.id, from: undo.hop.to, to: undo.to, stages: [...reading, ...going] };
  return Object.keys(targets).length === 0 ? hop : { ...hop, targets };
}

/**
 * The backup that brings a cluster's backend back over this hop: the cold snapshot of the auth that crossed, which holds
 * everything up to the moment it stopped, else the one that was made before the hop.
 */
function chooseRestore(
  { crossed, backups, run, safetyBackup }: RollbackInput,
  { hop }: Undo,
  cluster: Cluster,
  returns: readonly Return[],
  restarts: readonly HostName[],
  reasons: Reasons,
): Restore | null {
  const crossing = returns.filter((one) => one.host.role === "auth" && one.crosses);
  // Only where auth itself goes back: undoing proxies or nodes alone leaves the backend as it is.
  if (crossing.length === 0 && restarts.length === 0) return null;
  const who = crossed.find((one) => one.hop === hop.id && one.cluster === cluster.name)?.host ?? crossing[0]?.name;
  if (who === undefined) return null;
  const made = backups.filter((one) => one.host === who && one.hop === hop.id);
  // A copy stands in for what the host has lost.
  const usable = made.filter(({ verified, pruned, copy }) => (verified && !pruned) || copy !== null);
  const best = usable.find(isCold) ?? usable[0];
  if (best !== undefined) return { host: who, backup: best.backup, copy: best.copy, safetyBackup };
  const [why, hint] = made.some(({ verified, pruned }) => verified && pruned)
    ? [
        `${who} has pruned what run ${run} kept in ${hop.id}, and no copy of it is left`,
        "`backups` in fleet.yaml says how many stay. See `belay backup list` for one that is there, or restore the backend by hand.",
      ]
    : [
        `run ${run} has no verified backup of ${who} from ${hop.id}`,
        "See `belay backup list`; verify one with `belay backup verify`, or restore the backend by hand.",
      ];
  reasons.block({
    code: "backup-missing",
    subject: who,
    message: `${why}, and its backend can't go back over a major without a backup`,
    hint,
  });
  return null;
}

function isCold({ backup }: RunBackup): boolean {
  return backup.endsWith(".cold");
}

function assemble(input: RollbackInput, hops: readonly Hop[], to: string, { risks }: Reasons): Plan {
  const { plan, profile, progress } = input;
  const restores = hops.some((hop) => hop.stages.some((stage) => stage.restores !== undefined));
  const touched = new Set(
    hops.flatMap((hop) => hop.stages.flatMap((stage) => [...stage.batches.flat(), ...stage.stop])),
  );
  const hosts = Object.entries(plan.hosts)
    .filter(([name]) => touched.has(name))
    .map(([name, { definition: _, ...host }]): [HostName, PlanHost] => {
      // Whoever goes back out of trouble may have redefined a service meanwhile, to get out of it.
      const { definition } = input.facts.hosts[name] ?? {};
      const version = progress[name]?.version ?? host.version;
      return [name, { ...host, version, ...(definition === undefined ? {} : { definition }) }];
    });
  return {
    id: "",
    format: 1,
    kind: "rollback",
    fleet: plan.fleet,
    product: plan.product,
    environment: plan.environment,
    to,
    clusters: concerned(
      plan,
      hosts.map(([, host]) => host.cluster),
    ),
    hosts: Object.fromEntries(hosts),
    // Nothing is downloaded: the versions this run passed are still on the hosts.
    releases: {},
    hops,
    risks,
    quarantined: input.quarantine,
    ahead: [],
    undeclared: plan.undeclared,
    outOfScope: [],
    budgetRun: 0,
    vars: plan.vars,
    programs: programsOf(profile.programs, hops),
    backups: planBackups(input.fleet),
    undoes: {
      run: input.run,
      plan: plan.id,
      scope: input.scope,
      ...(restores && !input.safetyBackup ? { safetyBackup: false as const } : {}),
    },
  };
}

/** The clusters that go back, and those they trust. */
function concerned({ clusters }: Plan, names: readonly ClusterName[]): Plan["clusters"] {
  const wanted = new Set<ClusterName>();
  for (const name of names) {
    for (let at: ClusterName | undefined = name; at !== undefined && !wanted.has(at); at = clusters[at]?.trusts) {
      wanted.add(at);
    }
  }
  return Object.fromEntries(Object.entries(clusters).filter(([name]) => wanted.has(name)));
}
