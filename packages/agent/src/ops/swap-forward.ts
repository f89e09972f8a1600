import { type BackupResult, errorInfo, type OpOf, type SwapResult } from "@belay/shared";
import { takeBackup } from "../backups/take.js";
import { layWayBack, switchLink } from "../durable.js";
import { adopt } from "../entry/adopt.js";
import { keepAttributes } from "../entry/attributes.js";
import { runningVersion } from "../facts/running.js";
import type { Host } from "../host.js";
import type { Service, ServiceStatus } from "../service/service.js";
import { installedVersion } from "../versions/installed.js";
import { versionDir } from "../versions/manifest.js";
import type { Attempt } from "./op.js";
import { patiently } from "./patience.js";
import { glimpseAt, settle } from "./settle.js";
import { hooksRun, mayHook, swapHook } from "./swap-hooks.js";

type Swap = OpOf<"swap">;

/** A reload forks at once; one that hasn't taken by then never will (a stale pid file, a signal too early). */
const RELOAD_TAKES_MS = 10_000;
const RELOAD_POLL_MS = 50;
/** Without a sign, often enough: each look asks systemd and the service itself, on a host that is busy starting it. */
const RELOAD_LOOK_MS = 500;

/**
 * The way from the old version to the new. Every effect looks first and is left out where it is there already, so this
 * may be called again after a crash at any line. Throws for anything that keeps the new version from settling.
 *
 * The crash may have been the whole host's: then the boot has started the service, from wherever the link led to. So what a
 * new life finds counts, not what an earlier one noted: as long as the link leads to the old version, it may be running, and
 * writing what a snapshot taken before doesn't hold.
 */
export async function goForward(op: Swap, host: Host, attempt: Attempt): Promise<SwapResult> {
  const service = host.allowed.service(op.service);
  const reloads = op.how === "reload" && op.snapshot === null;
  const switching = attempt.passed("switching") !== undefined;
  let before: ServiceStatus | undefined;
  if (!switching) {
    await swapHook("pre-drain", op, host, attempt, attempt.signal);
    await swapHook("drain", op, host, attempt, attempt.signal);
    if (mayHook(op, attempt)) await attempt.pass("drained", { at: Math.round(host.clock.now()) });
    await adopt(op, host, attempt);
    const [from, to] = [versionDir(op.versionsDir, op.from), versionDir(op.versionsDir, op.to)];
    await keepAttributes({ from, to, entry: op.entry }, host.exec, attempt.signal);
    // Before anything is stopped: a disk on which this can't be made is none to begin on.
    await layWayBack(op.link, from);
    // Asked while the old version still serves: from the switch on, every question is time in which nobody is served.
    if (reloads) before = await service.beforeReload(!mayHook(op, attempt));
  }
  if (!switching || (await installedVersion(op.link, op.versionsDir)) !== op.to) {
    if (!reloads) await stopForSwap(op, service, attempt);
    await coldSnapshot(op, host, attempt);
    if (!switching) await attempt.pass("switching");
    await switchLink(op.link, versionDir(op.versionsDir, op.to));
  }
  let seen: ServiceStatus | undefined;
  if (attempt.passed("started") === undefined) seen = await startNew({ op, service, reloads, before }, host, attempt);
  // Started in an earlier life, and not brought up by the boot since.
  else if ((await patiently(() => service.status(), host.clock, attempt.signal)).state === "stopped") {
    await service.start();
  }

  const begunAt = Number((attempt.passed("drained") ?? attempt.passed("begun"))?.at);
  const healthy = async () => {
    if (attempt.passed("healthy") !== undefined) return;
    // The wall clock, because the first half may have been in another life of the agent; never below zero.
    await attempt.pass("healthy", { downMs: Math.max(0, Math.round(host.clock.now()) - begunAt) });
  };
  const { checks, settleMs, startTimeoutMs } = op;
  const version = { expect: op.to, probes: op.version, versionsDir: op.versionsDir };
  const restarts = Number(attempt.passed("started")?.restarts ?? 0);
  const left = attempt.passed("started")?.left as number | null | undefined;
  const { signal } = attempt;
  await settle(
    {
      ...{ service, checks, version, restarts, left: left ?? null, settleMs, startTimeoutMs, signal, healthy },
      ...(seen === undefined ? {} : { seen }),
    },
    host,
  );
  await swapHook("post-health", op, host, attempt, attempt.signal);
  await swapHook("undrain", op, host, attempt, attempt.signal);
  const hooks = hooksRun(attempt);
  const downMs = Number(attempt.passed("healthy")?.downMs ?? 0);
  const snapshot = (attempt.passed("snapshot") ?? null) as BackupResult | null;
  return { from: op.from, to: op.to, running: op.to, downMs, snapshot, ...(hooks.length > 0 ? { hooks } : {}) };
}

async function stopForSwap(op: Swap, service: Service, attempt: Attempt): Promise<void> {
  if (attempt.passed("stopping") === undefined) {
    // Hooks had their time since it was asked first: what can't be started again is not brought down.
    await service.needDefinition();
    await attempt.pass("stopping");
  }
  await service.stop(op.stopTimeoutMs);
  if (attempt.passed("stopped") === undefined) await attempt.pass("stopped");
}

/** Taken while nothing runs, and read back (I4). */
async function coldSnapshot(op: Swap, host: Host, attempt: Attempt): Promise<void> {
  if (op.snapshot === null) return;
  if (attempt.passed("snapshotting") === undefined) await attempt.pass("snapshotting");
  const result: BackupResult = await takeBackup(op.snapshot, host, attempt.signal, attempt.step);
  await attempt.pass("snapshot", result);
}

interface Start {
  readonly op: Swap;
  readonly service: Service;
  readonly reloads: boolean;
  /** Just before the link was switched, if that was in this life. */
  readonly before: ServiceStatus | undefined;
}

/** Answers what the service is then. */
async function startNew(start: Start, host: Host, attempt: Attempt): Promise<ServiceStatus> {
  const { op, service, reloads } = start;
  const look = () => patiently(() => service.status(), host.clock, attempt.signal);
  const before = start.before ?? (await look());
  const resumed = attempt.passed("starting") !== undefined;
  // From here on the new version may have run, and a revert has to put the snapshot back.
  if (!resumed) await attempt.pass("starting", { pid: before.pid });
  if (reloads && before.pid !== null) {
    // Never a second signal: a process that gets two forks twice. What an earlier life signalled is only waited for.
    const heard = resumed || (await hears(service, attempt, host));
    const oldPid = attempt.passed("starting")?.pid;
    const taken = heard ? await reloadTook({ ...start, oldPid }, host, attempt.signal) : null;
    if (taken !== null) {
      await attempt.pass("started", { restarts: taken.restarts, left: taken.pid === oldPid ? null : oldPid });
      return taken;
    }
    host.log.warn({ step: attempt.step }, "reload did not take: restarting");
    // Stop, then start: two versions never share anything longer than a drain that was asked for.
    await service.stop(op.stopTimeoutMs);
  }
  await service.start();
  const started = await look();
  await attempt.pass("started", { restarts: started.restarts });
  return started;
}

/** A service that can't be reloaded can be restarted: not a reason to go back. */
async function hears(service: Service, attempt: Attempt, host: Host): Promise<boolean> {
  try {
    await service.reload();
    return true;
  } catch (error) {
    attempt.signal.throwIfAborted();
    host.log.warn({ step: attempt.step, error: errorInfo(error) }, "reload failed");
    return false;
  }
}

/** A reload took when another process is the main one, or the process reports the new version. Null: it didn't. */
async function reloadTook(
  start: Start & { readonly oldPid: unknown },
  host: Host,
  signal: AbortSignal,
): Promise<ServiceStatus | null> {
  const { op, service, before, oldPid } = start;
  const { clock } = host;
  const until = clock.ticks() + Math.min(RELOAD_TAKES_MS, op.startTimeoutMs);
  let looked = clock.ticks();
  for (; clock.ticks() < until; await clock.sleep(RELOAD_POLL_MS, signal)) {
    const glimpsed = await glimpseAt(service);
    // Its own live process, and another: whoever watches it settle asks its supervisor in the end. Restarts count from before the
    // reload: a service that ends by it, and is brought up again, has crashed, though what came up is the new version.
    const isNew = before !== undefined && glimpsed !== null && glimpsed !== oldPid;
    if (isNew) return { ...before, pid: glimpsed, ailments: [] };
    if ((glimpsed === null || glimpsed === oldPid) && clock.ticks() - looked < RELOAD_LOOK_MS) continue;
    looked = clock.ticks();
    // However long that takes: whether the reload took is not known before.
    const status = await patiently(() => service.status(), clock, signal);
    const { pid } = status;
    if (pid !== null && pid !== oldPid) return status;
    const at = { pid, versionsDir: op.versionsDir };
    if ((await runningVersion(op.version, at, host.http, signal)) === op.to) return status;
  }
  return null;
}
