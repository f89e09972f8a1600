import {
  BelayError,
  decodeOp,
  type FactProbe,
  type HostName,
  type Op,
  ownBackup,
  type Role,
  type Sha256,
} from "@belay/shared";
import type { Cluster, Fleet, Host } from "../inventory/fleet.js";
import type { OpTemplate, Profile } from "../products/profile.js";
import { maxUnpackedBytes, unpackedBytes } from "../releases/unpacked.js";
import { runsOn } from "./artifacts.js";
import type { Hop, Plan, PlanArtifact, PlanHost, Stage } from "./plan.js";
import { fill, type Scope } from "./template.js";

/** A plan made quick to look things up in; made once for each run. */
export interface PlanIndex {
  readonly plan: Plan;
  readonly stages: ReadonlyMap<string, { readonly stage: Stage; readonly hop: Hop; readonly hopIndex: number }>;
  /** The hops in which each host moves, as indices into `plan.hops`, ascending. */
  readonly moves: ReadonlyMap<HostName, readonly number[]>;
  /** Stages in which, or after which, a restore may have put a host's unit back as it once was. */
  readonly redefined: ReadonlyMap<HostName, ReadonlySet<string>>;
}

export interface Where {
  readonly run: string;
  readonly stage: string;
  readonly host: HostName;
  /** What the ops call the host; absent: its name. */
  readonly named?: string;
}

const MOVING: ReadonlySet<string> = new Set(["auth", "proxy", "node"]);

/** Is this a stage in which hosts change their version? */
export function isMoving(stage: Stage): boolean {
  return MOVING.has(stage.kind);
}

export function indexPlan(plan: Plan): PlanIndex {
  const stages = new Map<string, { stage: Stage; hop: Hop; hopIndex: number }>();
  const moves = new Map<HostName, number[]>();
  plan.hops.forEach((hop, hopIndex) => {
    for (const stage of hop.stages) {
      stages.set(stage.id, { stage, hop, hopIndex });
      if (!isMoving(stage)) continue;
      for (const host of stage.batches.flat()) {
        const hops = moves.get(host);
        if (hops === undefined) moves.set(host, [hopIndex]);
        else if (hops.at(-1) !== hopIndex) hops.push(hopIndex);
      }
    }
  });
  return { plan, stages, moves, redefined: redefinedIn(plan) };
}

function redefinedIn(plan: Plan): Map<HostName, Set<string>> {
  const all = plan.hops.flatMap((hop) => hop.stages);
  const redefined = new Map<HostName, Set<string>>();
  for (const [at, stage] of all.entries()) {
    // The stage that reads a backup back names it, too, and puts nothing back.
    if (!isMoving(stage)) continue;
    for (const host of Object.keys(stage.restores ?? {})) {
      if (!redefined.has(host)) redefined.set(host, new Set(all.slice(at).map(({ id }) => id)));
    }
  }
  return redefined;
}

/** How a host's service is defined in a stage, as far as the plan knows. Undefined: nobody could say, or a restore has its own word. */
export function definitionAt({ plan, redefined }: PlanIndex, stage: string, host: HostName): Sha256 | undefined {
  return redefined.get(host)?.has(stage) === true ? undefined : plan.hosts[host]?.definition;
}

/** The version that a host has when a hop begins, if all went as planned. */
export function versionBefore(index: PlanIndex, host: HostName, hopIndex: number): string {
  const moved = (index.moves.get(host) ?? []).filter((at) => at < hopIndex).at(-1);
  const hop = moved === undefined ? undefined : index.plan.hops[moved];
  return hop === undefined ? hostOf(index.plan, host).version : targetOf(hop, host);
}

/** Where a hop takes a host that moves in it. */
export function targetOf(hop: Hop, host: HostName): string {
  return hop.targets?.[host] ?? hop.to;
}

/**
 * The ops of one host in one stage, in order: the plan's templates, filled in. Pure: the same plan and place always give
 * the same ops. Throws `program-unknown` or `program-invalid`; the planner has tried every program before.
 */
export function opsFor(index: PlanIndex, where: Where): Op[] {
  const { stage } = stageOf(index, where.stage);
  return fillProgram(index, where, stage.program);
}

/** What a host of the stage's stop list is asked to do, before the first batch. */
export function stopOpsFor(index: PlanIndex, where: Where): Op[] {
  return fillProgram(index, where, "stop");
}

function fillProgram(index: PlanIndex, where: Where, program: string): Op[] {
  const { plan } = index;
  const host = hostOf(plan, where.host);
  const templates = programFor(plan.programs, program, host.role);
  const scope = scopeOf(index, where, host);
  const { stepTimeoutMs } = stageOf(index, where.stage).stage;
  return templates.map((template) => withinStep(decodeFilled(fill(template, scope), template.kind), stepTimeoutMs));
}

/** Even a very short step leaves a service this long to come up. */
const MIN_START_MS = 1000;
/** The shortest time that a new agent is given, and how long its old version may take to be back after it. */
const MIN_RETURN_MS = 5_000;
const RETURN_TAKES_MS = 15_000;

/**
 * A service gets no longer to become healthy than its step may take: the agent must judge, and undo, before the
 * controller gives the step up as unknown (I7).
 */
function withinStep(op: Op, stepTimeoutMs: number): Op {
  const within = (wantedMs: number, spentMs: number) =>
    Math.min(wantedMs, Math.max(MIN_START_MS, stepTimeoutMs - spentMs));
  if (op.kind === "swap") {
    return { ...op, startTimeoutMs: within(op.startTimeoutMs, op.settleMs + op.stopTimeoutMs) };
  }
  if (op.kind === "upgrade-agent") {
    return { ...op, returnMs: Math.min(op.returnMs, Math.max(MIN_RETURN_MS, stepTimeoutMs - RETURN_TAKES_MS)) };
  }
  if (op.kind === "start" || op.kind === "health") return { ...op, timeoutMs: within(op.timeoutMs, op.settleMs) };
  return op;
}

function decodeFilled(filled: unknown, kind: string): Op {
  try {
    return decodeOp(filled);
  } catch (cause) {
    throw new BelayError("program-invalid", `the ${kind} op comes out wrong: ${(cause as Error).message}`, {
      hint: "Correct `vars` in fleet.yaml; docs/fleet.md lists the variables of each product.",
      cause,
    });
  }
}

/** The templates of a program for a role: its own variant if there is one. Throws `program-unknown`. */
export function programFor(programs: Plan["programs"], program: string, role: Role): readonly OpTemplate[] {
  const templates = programs[`${program}:${role}`] ?? programs[program];
  if (templates !== undefined) return templates;
  throw new BelayError("program-unknown", `there is no program "${program}" for ${role}`, {
    hint: "The product profile and the planner don't fit together; this is a defect of Belay.",
  });
}

/** All that a template may name for this host in this stage. */
function scopeOf(index: PlanIndex, where: Where, host: PlanHost): Scope {
  const { plan } = index;
  const { stage, hop, hopIndex } = stageOf(index, where.stage);
  const from = versionBefore(index, where.host, hopIndex);
  const to = index.moves.get(where.host)?.includes(hopIndex) ? targetOf(hop, where.host) : from;
  const vars = { ...plan.vars, ...plan.clusters[host.cluster]?.vars, ...host.vars };
  const name = where.named ?? where.host;
  const backup = ownBackup({ run: where.run, hop: hop.id, host: name });
  const needed = backupsOf(plan, where.run, host, name);
  return {
    vars,
    roles: host.roles,
    values: {
      run: where.run,
      hop: hop.id,
      stage: stage.id,
      host: name,
      cluster: host.cluster,
      from,
      to,
      definition: definitionAt(index, stage.id, where.host),
      backup,
      snapshot: coldOf(backup),
      restore: stage.restores?.[where.host] ?? null,
      restoreCopy: stage.copies?.[where.host],
      copyTo: plan.backups?.copy ?? undefined,
      neededBackups: needed,
      keepBackups: plan.backups === undefined ? undefined : Math.max(plan.backups.keep, needed.length),
      maxBackupAgeMs: plan.backups?.maxAgeMs ?? undefined,
      settleMs: stage.settleMs,
      stepTimeoutMs: stage.stepTimeoutMs,
      keptVersions: versionsOf(index, where.host),
      ...artifactValues(artifactFor(plan, host, to), vars),
    },
  };
}

/** Every version this plan passes on a host: kept until the end, so that the run can go back without a download. */
function versionsOf({ plan, moves }: PlanIndex, host: HostName): string[] {
  const passed = (moves.get(host) ?? []).map((at) => plan.hops[at]).filter((hop) => hop !== undefined);
  return [...new Set([hostOf(plan, host).version, ...passed.map((hop) => targetOf(hop, host))])];
}

/** All that this run may have kept on a host, and may have to put back if it is rolled back: so it can prune none of it (I4). */
function backupsOf({ hops }: Plan, run: string, { role }: PlanHost, name: string): string[] {
  return hops.flatMap(({ id }) => {
    const backup = ownBackup({ run, hop: id, host: name });
    return role === "auth" ? [backup, coldOf(backup)] : [backup];
  });
}

/** The snapshot that is taken while the service stands still. */
function coldOf(backup: string): string {
  return `${backup}.cold`;
}

function artifactValues(artifact: PlanArtifact | undefined, vars: Readonly<Record<string, string>>): object {
  if (artifact === undefined) return { sha256: null };
  const perPacked = vars.unpackedPerPacked === undefined ? undefined : Number(vars.unpackedPerPacked);
  return {
    source: `/v1/artifacts/${artifact.sha256}`,
    sha256: artifact.sha256,
    size: artifact.size,
    fetchBytes: artifact.size + unpackedBytes(artifact.size, perPacked),
    maxUnpackedBytes: maxUnpackedBytes(artifact.size, perPacked),
  };
}

function artifactFor(plan: Plan, host: PlanHost, version: string): PlanArtifact | undefined {
  return plan.releases[version]?.find((artifact) => runsOn(artifact, host.platform));
}

function hostOf(plan: Plan, name: HostName): PlanHost {
  const host = plan.hosts[name];
  if (host === undefined) throw new BelayError("host-unknown", `plan ${plan.id} does not move host ${name}`);
  return host;
}

function stageOf(index: PlanIndex, id: string): { stage: Stage; hop: Hop; hopIndex: number } {
  const found = index.stages.get(id);
  if (found === undefined) throw new BelayError("stage-unknown", `plan ${index.plan.id} has no stage ${id}`);
  return found;
}

/**
 * What an agent must look at on a host, for the welcome message; null when the fleet does not declare it. Throws
 * `program-invalid` when its variables make no sense.
 */
export function probeFor(fleet: Fleet, host: HostName, profile: Profile): FactProbe | null {
  const declared = declaredIn(fleet).get(host);
  if (declared === undefined) return null;
  const { cluster, roles, vars } = declared;
  const scope = {
    vars: { ...profile.vars, ...fleet.vars, ...cluster.vars, ...vars },
    values: { host, cluster: cluster.name },
    roles,
  };
  const op = decodeFilled({ kind: "facts", probe: fill(profile.probe[roles[0]], scope) }, "facts");
  return op.kind === "facts" ? op.probe : null;
}

/** Where each host is declared, made once for each fleet: ten thousand hosts ask one by one as they come in. */
function declaredIn(fleet: Fleet): ReadonlyMap<HostName, Host & { readonly cluster: Cluster }> {
  let declared = hostsOfFleet.get(fleet);
  if (declared === undefined) {
    declared = new Map(
      fleet.clusters.flatMap((cluster) => cluster.hosts.map((host) => [host.name, { ...host, cluster }] as const)),
    );
    hostsOfFleet.set(fleet, declared);
  }
  return declared;
}

const hostsOfFleet = new WeakMap<Fleet, ReadonlyMap<HostName, Host & { readonly cluster: Cluster }>>();
