import type { HostName, Role } from "@belay/shared";
import type { Cluster, Fleet, GateKind, RolloutPolicy } from "../inventory/fleet.js";
import { amountOf, splitBatches } from "./batches.js";
import type { Leg, Move } from "./path.js";
import type { Gate, Stage, StageKind } from "./plan.js";

/** Where a stage belongs, which is all that its policies hang on. */
export interface Place {
  readonly fleet: Fleet;
  readonly cluster: Cluster;
  readonly hop: string;
}

/**
 * The stages of one cluster in one leg, in mandated order: look, fetch, back up, then auth, proxies, nodes behind their
 * gates, then verify. A host with several roles goes once, in the stage of its earliest. `authAcross`: an auth of this
 * cluster that stays as it is has this leg's major already.
 */
export function stagesOf(place: Place, leg: Leg, moves: readonly Move[], authAcross: boolean): Stage[] {
  const everybody = moves.map(({ mover }) => mover.name);
  const of = (role: Role) => moves.filter(({ mover }) => mover.role === role);
  return [
    together(place, "preflight", "preflight", everybody),
    together(place, "fetch", "fetch", everybody),
    // Whole and read back before anything of this cluster is touched (I4).
    together(place, "backup", "backup", everybody),
    ...authStages(place, of("auth"), authAcross),
    ...servingStage(place, "proxy", of("proxy")),
    ...servingStage(place, "node", of("node")),
    together(place, "verify", leg.last ? "verify-last" : "verify", everybody),
  ];
}

/** I5: how the auth instances of one cluster take turns. */
function authStages(place: Place, moves: readonly Move[], authAcross: boolean): Stage[] {
  const crossing = moves.filter((move) => move.crosses).map(({ mover }) => mover.name);
  const inside = moves.filter((move) => !move.crosses).map(({ mover }) => mover.name);
  const [first, ...others] = crossing;
  const settled =
    inside.length === 0 ? [] : [authStage(place, "auth", first ? "auth-minor" : null, "auth-minor", inside)];
  if (first === undefined) return settled;
  if (place.cluster.ha === "rolling") {
    const everybody = moves.map(({ mover }) => mover.name);
    return [authStage(place, "auth", null, "auth-rolling", everybody, { pointOfNoReturn: true })];
  }
  if (authAcross || inside.length > 0) {
    // One has migrated the backend before this plan: the stragglers stop, and join it one by one.
    const joining = authStage(place, "auth", null, "auth-rest", crossing, { stop: crossing, pointOfNoReturn: true });
    return [joining, ...settled];
  }
  const alone = authStage(place, "auth", null, "auth-first", [first], { stop: others, pointOfNoReturn: true });
  return others.length === 0 ? [alone] : [alone, authStage(place, "auth-rest", "auth-rest", "auth-rest", others)];
}

function authStage(
  place: Place,
  gateKind: GateKind,
  suffix: string | null,
  program: string,
  hosts: readonly HostName[],
  more: { stop?: readonly HostName[]; pointOfNoReturn?: boolean } = {},
): Stage {
  const id = stageId(place, suffix ?? "auth");
  return {
    ...frame(place.fleet.rollout.auth, hosts.length),
    id,
    cluster: place.cluster.name,
    kind: "auth",
    role: "auth",
    batches: hosts.map((host) => [host]),
    gate: gateOf(place, id, gateKind, more.pointOfNoReturn ?? false),
    stop: more.stop ?? [],
    program,
    parallel: 1,
    canaries: 0,
  };
}

function servingStage(place: Place, role: "proxy" | "node", moves: readonly Move[]): Stage[] {
  if (moves.length === 0) return [];
  const policy = place.fleet.rollout[role];
  const { batches, canaries } = splitBatches(
    moves.map(({ mover }) => mover.name),
    policy,
  );
  const id = stageId(place, role);
  return [
    {
      ...frame(policy, moves.length),
      id,
      cluster: place.cluster.name,
      kind: role,
      role,
      batches,
      gate: gateOf(place, id, role, false),
      stop: [],
      program: role,
      parallel: Math.max(...batches.map((batch) => batch.length)),
      canaries,
    },
  ];
}

/** A stage that takes all hosts of all roles together, behind no gate: it touches nothing that runs. */
export function together(place: Place, kind: StageKind, program: string, hosts: readonly HostName[]): Stage {
  const { rollout } = place.fleet;
  const settleMs = Math.max(rollout.auth.settleMs, rollout.proxy.settleMs, rollout.node.settleMs);
  return {
    // No failure is tolerated: a host that can't be looked at or backed up must be set aside by a person.
    ...frame({ ...rollout.node, settleMs, budget: { batch: 0, stage: 0 } }, hosts.length),
    id: stageId(place, kind),
    cluster: place.cluster.name,
    kind,
    role: null,
    batches: [hosts],
    gate: null,
    stop: [],
    program,
    parallel: Math.min(rollout.parallel, hosts.length),
    canaries: 0,
  };
}

/** The members of a stage that come from its rollout policy alone. */
export function frame(
  policy: RolloutPolicy,
  hosts: number,
): Pick<Stage, "budget" | "settleMs" | "stepTimeoutMs" | "attempts"> {
  return {
    budget: { batch: amountOf(policy.budget.batch, hosts), stage: amountOf(policy.budget.stage, hosts) },
    settleMs: policy.settleMs,
    stepTimeoutMs: policy.stepTimeoutMs,
    attempts: policy.attempts,
  };
}

export function stageId({ hop, cluster }: Place, name: string): string {
  return `${hop}.${cluster.name}.${name}`;
}

/** The gate in front of a stage (I6): the most particular policy that is declared, member by member. */
export function gateOf({ fleet, cluster }: Place, id: string, kind: GateKind, pointOfNoReturn: boolean): Gate {
  const { gates } = fleet;
  const own = gates.byCluster[cluster.name];
  const policy = { ...gates.default, ...gates.byKind[kind], ...own?.default, ...own?.[kind] };
  return {
    id,
    kind,
    approvals: policy.approvals,
    group: policy.group ?? null,
    timeoutMs: policy.timeoutMs,
    onTimeout: policy.onTimeout,
    pointOfNoReturn,
    ...(policy.requesterMayApprove === true ? { requesterMayApprove: true } : {}),
  };
}
