import type { HostName } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import { targetOf } from "../plan/program.js";
import { brokenGlassIn } from "./broken-glass.js";
import type { World } from "./decision.js";
import type { Evidence } from "./evidence.js";
import { type RunState, type StageRecord, versionOf } from "./state.js";

/** Lists in evidence are cut here: it is stored with the gate and read by people. Counts are always whole. */
const LISTED = { stages: 100, hosts: 10, unhealthy: 50, failures: 50, backups: 50 } as const;

/**
 * What a gate in front of `at.stage` shows (also a failure gate inside of it). Walks the hosts of one cluster: once a
 * gate, not once an event. `now` ends the time of a stage that is still at work.
 */
export function gatherEvidence(
  state: RunState,
  plan: Plan,
  at: { readonly stage: string; readonly pointOfNoReturn: boolean },
  world: World,
  now: number,
): Evidence {
  const index = state.stageIndex.get(at.stage) ?? 0;
  const record = state.stages[index];
  if (record === undefined) throw new TypeError(`run ${state.run} has no stage ${at.stage}`);
  const { cluster } = record.stage;
  const broken = brokenGlassIn(state);
  const hosts = Object.keys(plan.hosts).filter((host) => plan.hosts[host]?.cluster === cluster);
  return {
    done: state.stages
      .filter(({ startedAt }) => startedAt !== null)
      .slice(-LISTED.stages)
      .map(({ stage, ok, failed, startedAt, endedAt }) => ({
        stage: stage.id,
        hosts: ok,
        failed,
        ms: (endedAt ?? now) - (startedAt ?? now),
      })),
    versions: versionsOf(plan, hosts, world),
    unhealthy: hosts
      .flatMap((host) => {
        if (isStoppedOnPurpose(state, host)) return [{ host, ailments: [STOPPED_ON_PURPOSE] }];
        const facts = world.factsOf(host);
        return facts === null || facts.healthy ? [] : [{ host, ailments: facts.ailments }];
      })
      .slice(0, LISTED.unhealthy),
    failures: state.recentFailures.slice(-LISTED.failures).map(({ host, stage, error }) => ({ host, stage, error })),
    backups: hosts
      .flatMap((host) => {
        const backup = state.backups.get(host);
        return backup?.hop === record.hop.id ? [{ host, ...backup.result }] : [];
      })
      .slice(0, LISTED.backups),
    ...(broken.length === 0 ? {} : { brokenGlass: broken }),
    next: nextOf(state, index),
    goingBack: goingBackFrom(state, record, at.pointOfNoReturn),
  };
}

const STOPPED_ON_PURPOSE = "stopped by this run until its own turn, so that one auth alone crosses the major";

/** I5: an auth that a stage stopped for another one, and that has not been brought to that stage's version since. */
function isStoppedOnPurpose(state: RunState, host: HostName): boolean {
  return state.stages.some(
    ({ stage, hop, status }) =>
      status !== "pending" && stage.stop.includes(host) && versionOf(state, host) !== targetOf(hop, host),
  );
}

/** What each role of the cluster itself reports to run (I8), the commonest first. */
function versionsOf(plan: Plan, hosts: readonly HostName[], world: World): Evidence["versions"] {
  const counts = new Map<string, { role: string; version: string | null; hosts: number }>();
  for (const host of hosts) {
    const role = plan.hosts[host]?.role ?? "node";
    const version = world.factsOf(host)?.running ?? null;
    const key = `${role} ${version}`;
    const count = counts.get(key) ?? { role, version, hosts: 0 };
    count.hosts += 1;
    counts.set(key, count);
  }
  return [...counts.values()].sort((a, b) => b.hosts - a.hosts);
}

/** The stages that passing this gate lets happen: this one, and all up to the next gate. */
function nextOf(state: RunState, index: number): Evidence["next"] {
  const end = state.stages.findIndex(({ stage }, at) => at > index && stage.gate !== null);
  return state.stages
    .slice(index, end < 0 ? undefined : end)
    .slice(0, LISTED.stages)
    .map(({ stage, total }) => {
      const hosts = stage.batches.flat().slice(0, LISTED.hosts);
      return { stage: stage.id, hosts, more: total - hosts.length };
    });
}

function goingBackFrom(state: RunState, record: StageRecord, pointOfNoReturn: boolean): Evidence["goingBack"] {
  const { cluster } = record.stage;
  const { from, to } = record.hop;
  const hasCrossed = state.stages.some(
    ({ stage, hop, status }) =>
      hop === record.hop && stage.cluster === cluster && stage.kind === "auth" && status !== "pending",
  );
  const command = `belay run rollback ${state.run} --scope hop`;
  const { restore } = state.plan;
  if (restore !== undefined) {
    const taken = new Date(restore.takenAt).toISOString();
    return {
      pointOfNoReturn,
      takes: restore.safetyBackup
        ? `a restore of what is kept aside first: belay backup restore ${restore.host} ${state.run}.${record.hop.id}.${restore.host}`
        : "nothing: what is there now is not kept aside",
      loses: `everything that ${restore.host} has stored since ${taken}, when ${restore.backup} was taken`,
    };
  }
  if (state.plan.kind === "rollback") {
    const bare = pointOfNoReturn && state.plan.undoes?.safetyBackup === false;
    return {
      pointOfNoReturn,
      takes: "a new plan, forward again",
      loses: bare ? `what auth of ${cluster} has now: it is not kept aside` : "nothing that is not lost already",
    };
  }
  if (pointOfNoReturn || hasCrossed) {
    return {
      pointOfNoReturn,
      takes: `${command}: nodes and proxies of ${cluster} go back first, then every auth is stopped, its backend restored from the backup, and ${from} started again`,
      loses: `everything written to the backend of ${cluster} since that backup`,
    };
  }
  return {
    pointOfNoReturn,
    takes: `${command}: whatever has moved in ${cluster} from ${from} to ${to} is switched back; no restore`,
    loses: "nothing",
  };
}
