import type { HostName, StoredCopy } from "@belay/shared";
import { splitBatches } from "../batches.js";
import type { Stage } from "../plan.js";
import { frame, gateOf, type Place, stageId, together } from "../stages.js";
import type { Return } from "./undo.js";

/** A backup that is put back on its host, and the copy that stands in for it. */
export interface PutBack {
  readonly host: HostName;
  readonly backup: string;
  readonly copy: StoredCopy | null;
}

/** The auth whose backend is put back, from which backup; null where no backend crossed a major. */
export interface Restore extends PutBack {
  /** False: what is there now is not kept aside first, because nothing of it is left. */
  readonly safetyBackup: boolean;
}

/**
 * The stages that take one cluster back over one hop, the other way round: nodes, proxies, then auth, each behind its
 * gate. No canaries: the old version is the one that is known to work.
 */
export function returnStages(
  place: Place,
  returns: readonly Return[],
  restarts: readonly HostName[],
  restore: Restore | null,
): Stage[] {
  const everybody = [...new Set([...returns.map(({ name }) => name), ...restarts, ...(restore ? [restore.host] : [])])];
  const of = (role: string) => returns.filter(({ host }) => host.role === role);
  return [
    lookingBack(place, everybody, restore?.safetyBackup !== false),
    ...servingStage(place, "node", of("node")),
    ...servingStage(place, "proxy", of("proxy")),
    ...authStages(place, of("auth"), restarts, restore),
    together(place, "verify", "back-verify", everybody),
  ];
}

/** The look at everybody before a way back. `keepsAside`: there must be room for what is kept aside before a backup is put back. */
export function lookingBack(place: Place, everybody: readonly HostName[], keepsAside: boolean): Stage {
  return together(place, "preflight", keepsAside ? "back-preflight" : "back-preflight-bare", everybody);
}

function servingStage(place: Place, role: "proxy" | "node", returns: readonly Return[]): Stage[] {
  if (returns.length === 0) return [];
  const policy = { ...place.fleet.rollout[role], canary: 0 };
  const hosts = returns.map(({ name }) => name);
  const { batches } = splitBatches(hosts, policy);
  const id = stageId(place, role);
  return [
    {
      ...frame(policy, hosts.length),
      id,
      cluster: place.cluster.name,
      kind: role,
      role,
      batches,
      gate: gateOf(place, id, role, false),
      stop: [],
      program: `back-${role}`,
      parallel: Math.max(...batches.map((batch) => batch.length)),
      canaries: 0,
    },
  ];
}

/**
 * Where a backend crossed a major: all auths stop, the one that crossed restores it and starts alone (I5), then the
 * others join, whether they had moved or had only been stopped.
 */
function authStages(
  place: Place,
  returns: readonly Return[],
  restarts: readonly HostName[],
  restore: Restore | null,
): Stage[] {
  const names = returns.map(({ name }) => name);
  const started = restarts.filter((name) => name !== restore?.host);
  const starting = started.length === 0 ? [] : [authStage(place, "auth-start", "back-auth-start", started)];
  if (restore === null) {
    if (names.length === 0) return starting;
    const id = stageId(place, "auth");
    const back = { ...authStage(place, "auth", "back-auth-minor", names), gate: gateOf(place, id, "auth", false) };
    return [back, ...starting];
  }
  const moved = names.includes(restore.host);
  const others = names.filter((name) => name !== restore.host);
  const first: Stage = {
    ...authStage(place, "auth", restoringProgram(restore, moved), [restore.host]),
    // What was written since the backup is lost behind this gate, so people must see it as a point of no return.
    gate: gateOf(place, stageId(place, "auth"), "auth", true),
    stop: [...new Set([restore.host, ...others, ...started])],
    ...restoring(restore),
  };
  if (others.length === 0) return [first, ...starting];
  const rest = authStage(place, "auth-rest", "back-auth-rest", others);
  return [first, { ...rest, gate: gateOf(place, rest.id, "auth-rest", false) }, ...starting];
}

function restoringProgram({ safetyBackup }: Restore, moved: boolean): string {
  if (safetyBackup) return moved ? "back-auth-first" : "back-auth-restore";
  return moved ? "restore-auth-first-bare" : "restore-auth-bare";
}

/** The backup that will be put back is read back, or brought back from its copy, before anything is stopped for it (I4). */
export function readingStage(place: Place, restore: PutBack): Stage {
  return { ...together(place, "backup", "restore-read", [restore.host]), ...restoring(restore) };
}

/** The members of a stage that say what is put back. */
export function restoring({ host, backup, copy }: PutBack): Pick<Stage, "restores" | "copies"> {
  return { restores: { [host]: backup }, ...(copy === null ? {} : { copies: { [host]: copy } }) };
}

/** One auth after the other, behind no gate unless the caller sets one: starting what was running is no new decision. */
function authStage(place: Place, name: string, program: string, hosts: readonly HostName[]): Stage {
  return {
    ...frame(place.fleet.rollout.auth, hosts.length),
    id: stageId(place, name),
    cluster: place.cluster.name,
    kind: "auth",
    role: "auth",
    batches: hosts.map((host) => [host]),
    gate: null,
    stop: [],
    program,
    parallel: 1,
    canaries: 0,
  };
}
