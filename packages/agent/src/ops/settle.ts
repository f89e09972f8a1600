import { BelayError, type Check, type VersionProbe } from "@belay/shared";
import { ailmentsOf } from "../facts/health.js";
import { runningVersion } from "../facts/running.js";
import type { Host } from "../host.js";
import { findProcess } from "../service/proc.js";
import type { Service, ServiceStatus } from "../service/service.js";
import { mayPass, PATIENCE_MS } from "./patience.js";

export interface Settling {
  service: Service;
  checks: readonly Check[];
  /** What the process itself must report; null: whatever it is. */
  version: { expect: string; probes: readonly VersionProbe[]; versionsDir: string } | null;
  /** Restarts that had happened before; one more is a crash. Null: the service may be found in any state. */
  restarts: number | null;
  /** What it was a moment ago, for who has just looked or glimpsed: the first look here is then that one. */
  seen?: ServiceStatus;
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
 * the end, and whenever anything is different. A restart gives it another process, and shows in the count of them at the end. A
 * supervisor that can't be asked says nothing: the time begins anew, and is up only when it couldn't be asked for a while.
 */
export async function settle(watch: Settling, host: Host): Promise<void> {
  const { clock } = host;
  const pollMs = Math.max(MIN_POLL_MS, Math.min(MAX_POLL_MS, watch.settleMs / 5));
  const startBy = clock.ticks() + watch.startTimeoutMs;
  let calm: Calm | null = null;
  let seen = watch.seen ?? null;
  let told = false;
  let unseenSince: number | null = null;
  for (;;) {
    watch.signal.throwIfAborted();
    const isDue: boolean = calm !== null && clock.ticks() - calm.since >= watch.settleMs;
    const glimpsed: ServiceStatus | null = calm === null || isDue ? seen : await stillAs(calm.status, watch.service);
    const status: ServiceStatus | string = glimpsed ?? (await lookAt(watch.service));
    seen = null;
    const isUnseen = typeof status === "string";
    const ailments = isUnseen ? [status] : await ailmentsAt(status, watch, host);
    const now = clock.ticks();
    unseenSince = isUnseen ? (unseenSince ?? now) : null;
    if (isUnseen || ailments.length > 0) {
      calm = null;
      const until = unseenSince === null ? startBy : Math.max(startBy, unseenSince + PATIENCE_MS);
      if (now >= until) throw unhealthy(watch, ailments);
    } else {
      if (calm === null || calm.status.pid !== status.pid) calm = { status, since: now };
      if (!told) await watch.healthy?.();
      told = true;
      if (glimpsed === null && now - calm.since >= watch.settleMs) return;
    }
    const left = calm === null ? pollMs : calm.since + watch.settleMs - clock.ticks();
    await clock.sleep(Math.max(MIN_POLL_MS, Math.min(pollMs, left)), watch.signal);
  }
}

/** Why it can't be looked at, in words, where that may pass. */
async function lookAt(service: Service): Promise<ServiceStatus | string> {
  try {
    return await service.status();
  } catch (error) {
    if (mayPass(error)) return `it can't be looked at: ${error.message}`;
    throw error;
  }
}

/** Null: that doesn't show. */
export async function glimpseAt(service: Service): Promise<number | null> {
  try {
    return await service.glimpse();
  } catch (error) {
    if (mayPass(error)) return null;
    throw error;
  }
}

/** What it was, if it is the same live process as then; null: look properly. */
async function stillAs(status: ServiceStatus, service: Service): Promise<ServiceStatus | null> {
  const { pid } = status;
  if (pid === null || (await glimpseAt(service)) !== pid) return null;
  return (await findProcess(pid)) === null ? null : status;
}

async function ailmentsAt(status: ServiceStatus, watch: Settling, host: Host): Promise<string[]> {
  const crashed = status.restarts > (watch.restarts ?? Number.POSITIVE_INFINITY) || isBack(watch.left, status.pid);
  if (crashed || (watch.restarts !== null && isGone(status))) throw gone(watch.service, status);
  if (status.state !== "running") return [`the service is ${status.state}`];
  const ailments = [...status.ailments, ...(await ailmentsOf(watch.checks, status.pid, host, watch.signal))];
  if (watch.version !== null && ailments.length === 0) {
    const { expect, probes, versionsDir } = watch.version;
    const running = await runningVersion(probes, { pid: status.pid, versionsDir }, host.http, watch.signal);
    if (running !== expect) ailments.push(`it reports ${running ?? "no version"}, not ${expect}`);
  }
  return ailments;
}

/** No process of it is left, and whoever started it has been told that it was. */
function isGone({ state }: ServiceStatus): boolean {
  return state === "failed" || state === "stopped";
}

function gone({ name }: Service, { state, restarts }: ServiceStatus): BelayError {
  const what = state === "stopped" ? "ended without an error, or its unit's conditions are not met" : "ended by itself";
  return new BelayError("service-crashed", `${name} ${what}`, {
    hint: "look at the service's own log on this host",
    context: { service: name, state, restarts },
  });
}

function isBack(left: number | null | undefined, pid: number | null): boolean {
  return typeof left === "number" && left === pid;
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
