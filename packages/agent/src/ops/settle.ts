import { BelayError, type Check, type VersionProbe } from "@belay/shared";
import { ailmentsOf } from "../facts/health.js";
import { runningVersion } from "../facts/running.js";
import type { Host } from "../host.js";
import { findProcess } from "../service/proc.js";
import type { Service, ServiceStatus } from "../service/service.js";

export interface Settling {
  service: Service;
  checks: readonly Check[];
  /** What the process itself must report; null: whatever it is. */
  version: { expect: string; probes: readonly VersionProbe[]; versionsDir: string } | null;
  /** Restarts that had happened before; one more is a crash. Null: the service may be found in any state. */
  restarts: number | null;
  /**
   * What was glimpsed of it a moment ago: the first look is then that one. Its supervisor says afterwards how often that process was
   * restarted; where it names another one, this one crashed.
   */
  glimpsed?: ServiceStatus;
  /** The process that a reload left behind to drain: when it is the main one again, its successor is dead. */
  left?: number | null;
  settleMs: number;
  /** How long it may take until the first healthy moment of the time in which it then settles. */
  startTimeoutMs: number;
  signal: AbortSignal;
  /** The first healthy moment. */
  healthy?: () => Promise<void>;
}

/** Often enough for settle times of a second, seldom enough not to be the load that makes a service slow. */
const MAX_POLL_MS = 500;
const MIN_POLL_MS = 20;

/** The service was in order, and the same, from `since` on. */
interface Calm {
  readonly status: ServiceStatus;
  readonly since: number;
}

/**
 * Watches a service until it has been the same process, unrestarted and healthy, for the settle time without a break
 * (I8). Throws `service-crashed` as soon as it is gone, `unhealthy` when its time is up, or the signal's reason.
 *
 * In between it is only glimpsed, as long as it is the same live process and healthy: its supervisor is asked at the beginning, at
 * the end, and whenever anything is different. A restart gives it another process, and shows in the count of them at the end.
 */
export async function settle(watch: Settling, host: Host): Promise<void> {
  const { clock } = host;
  const pollMs = Math.max(MIN_POLL_MS, Math.min(MAX_POLL_MS, watch.settleMs / 5));
  const startBy = clock.ticks() + watch.startTimeoutMs;
  let calm: Calm | null = null;
  let first = watch.glimpsed ?? null;
  let { restarts } = watch;
  let unconfirmed: number | null = first?.pid ?? null;
  let told = false;
  for (;;) {
    watch.signal.throwIfAborted();
    const isDue = unconfirmed !== null || (calm !== null && clock.ticks() - calm.since >= watch.settleMs);
    const glimpsed: ServiceStatus | null = calm === null || isDue ? first : await stillAs(calm.status, watch.service);
    const status: ServiceStatus = glimpsed ?? (await watch.service.status());
    first = null;
    if (glimpsed === null && unconfirmed !== null) {
      if (status.pid !== unconfirmed) throw crashed(watch, status);
      restarts = Math.max(restarts ?? 0, status.restarts);
      unconfirmed = null;
    }
    const ailments = await ailmentsAt(status, { ...watch, restarts }, host);
    const now = clock.ticks();
    if (ailments.length > 0) {
      calm = null;
      if (now >= startBy) throw unhealthy(watch, ailments);
    } else {
      if (calm === null || calm.status.pid !== status.pid) calm = { status, since: now };
      if (!told) await watch.healthy?.();
      told = true;
      if (glimpsed === null && now - calm.since >= watch.settleMs) return;
    }
    // Healthy at first sight: now there is time to ask.
    if (unconfirmed !== null && calm !== null) continue;
    const left = calm === null ? pollMs : calm.since + watch.settleMs - clock.ticks();
    await clock.sleep(Math.max(MIN_POLL_MS, Math.min(pollMs, left)), watch.signal);
  }
}

/** What it was, if it is the same live process as then; null: look properly. */
async function stillAs(status: ServiceStatus, service: Service): Promise<ServiceStatus | null> {
  const { pid } = status;
  if (pid === null || (await service.glimpse()) !== pid) return null;
  return (await findProcess(pid)) === null ? null : status;
}

async function ailmentsAt(status: ServiceStatus, watch: Settling, host: Host): Promise<string[]> {
  const again = status.restarts > (watch.restarts ?? Number.POSITIVE_INFINITY) || isBack(watch.left, status.pid);
  if (again || (watch.restarts !== null && status.state === "failed")) throw crashed(watch, status);
  if (status.state !== "running") return [`the service is ${status.state}`];
  const ailments = [...status.ailments, ...(await ailmentsOf(watch.checks, status.pid, host, watch.signal))];
  if (watch.version !== null && ailments.length === 0) {
    const { expect, probes, versionsDir } = watch.version;
    const running = await runningVersion(probes, { pid: status.pid, versionsDir }, host.http, watch.signal);
    if (running !== expect) ailments.push(`it reports ${running ?? "no version"}, not ${expect}`);
  }
  return ailments;
}

function isBack(left: number | null | undefined, pid: number | null): boolean {
  return typeof left === "number" && left === pid;
}

function crashed({ service }: Settling, { state, restarts }: ServiceStatus): BelayError {
  return new BelayError("service-crashed", `${service.name} ended by itself`, {
    hint: "look at the service's own log on this host",
    context: { service: service.name, state, restarts },
  });
}

function unhealthy(watch: Settling, ailments: string[]): BelayError {
  const what = ailments.join("; ");
  return new BelayError(
    "unhealthy",
    `${watch.service.name} was not healthy after ${watch.startTimeoutMs} ms: ${what}`,
    {
      hint: "look at the service's own log on this host",
      context: { service: watch.service.name, ailments },
    },
  );
}
