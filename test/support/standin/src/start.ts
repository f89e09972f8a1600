import { renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Auth, Refusal } from "./auth.js";
import { type Address, type Config, readConfig } from "./config.js";
import { type Self, serveDiagnostics, serveWeb } from "./diagnostics.js";
import { Diary } from "./diary.js";
import { Health } from "./health.js";
import { ensureIdentity } from "./identity.js";
import { isFork, Listeners } from "./listeners.js";
import { Membership } from "./membership.js";
import { behaviourFor, type Release } from "./release.js";
import { obeySignals } from "./signals.js";

export interface StartOptions {
  readonly config: string;
  readonly pidFile: string | null;
  readonly diag: Address | null;
}

/** Exit codes: a Go panic is 2, a refusal to start 1. */
const PANIC = 2;
const REFUSED = 1;
/** A fork shows itself only when an auth has answered it, or this much later: callers of its parent wait for nothing. */
const FORK_PATIENCE_MS = 1_000;

/**
 * Runs the services that the config enables, until a signal ends them. A start counts as successful, and writes the PID
 * file, when the backend is migrated and every listener is open; readiness is what `/readyz` says from then on.
 */
export async function start(release: Release, options: StartOptions): Promise<void> {
  const config = readConfig(options.config);
  const behaviour = behaviourFor(release, config.roles);
  const diary = new Diary(config.dataDir, release.version);
  diary.write("start", isFork ? "fork" : "start");
  if (behaviour.kind === "crash-at-start") panic(diary, "nil pointer dereference");
  log(`Teleport v${release.version} starting as ${config.roles.join(", ")}, pid ${process.pid}`);

  const health = new Health(log);
  const listeners = new Listeners();
  let auth: Auth | null = null;
  let membership: Membership | null = null;
  const self: Self = {
    release,
    readiness: () => health.readiness(),
    migrating: () => auth?.migrating ?? null,
    registered: () => auth?.registered() ?? new Map(),
    clusterName: () => auth?.clusterName ?? membership?.joined?.cluster ?? null,
  };
  const showDiagnostics = async () => {
    if (options.diag !== null) serveDiagnostics(await listeners.take("diag", options.diag), self);
  };

  const stop = async (reason: string) => {
    membership?.close();
    await auth?.close();
    diary.write("stop", reason);
  };
  obeySignals({
    listeners,
    log,
    stop,
    ignoresHup: behaviour.kind === "ignores-hup",
    describe: () => JSON.stringify(health.readiness().body),
  });

  try {
    const uuid = ensureIdentity(config.dataDir, release);
    if (behaviour.kind === "never-ready") health.set("process", "starting", "waiting for a component");
    if (!isFork) await showDiagnostics();
    if (config.auth !== null) {
      auth = await Auth.open(config, config.auth, release, health);
      await auth.prepare(behaviour);
    }
    membership = join(config, uuid, release, health);
    if (isFork) {
      await Promise.race([membership?.answered, sleep(FORK_PATIENCE_MS, undefined, { ref: false })]);
      await showDiagnostics();
    }
    if (auth !== null && config.auth !== null) auth.serve(await listeners.take("auth", config.auth.listen));
    if (config.web !== null) serveWeb(await listeners.take("web", config.web), self);
  } catch (error) {
    refuse(diary, error);
  }
  if (options.pidFile !== null) writePidFile(options.pidFile);
  if (process.connected) process.send?.({ started: process.pid });
  diary.write("ready", config.roles.join(","));
  log("started");
  if (behaviour.kind === "crash-after") setTimeout(() => panic(diary, "concurrent map writes"), behaviour.afterMs);
}

/** Proxies and nodes join their own cluster; a leaf's auth joins the root it trusts. */
function join(config: Config, uuid: string, release: Release, health: Health): Membership | null {
  const me = { uuid, name: config.nodename, roles: config.roles, version: release.version };
  if (config.auth === null) return new Membership(me, config.authServers, health, config.roles.join("+"), true);
  const { clusterName, trustedRoot } = config.auth;
  if (trustedRoot.length === 0) return null;
  const leaf = { ...me, name: clusterName, roles: ["leaf"] };
  return new Membership(leaf, trustedRoot, health, "trust", false);
}

/** Whole or not at all: whoever reads it meets the old PID or the new one. */
function writePidFile(file: string): void {
  writeFileSync(`${file}.${process.pid}`, `${process.pid}\n`);
  renameSync(`${file}.${process.pid}`, file);
}

function refuse(diary: Diary, error: unknown): never {
  const reason = error instanceof Error ? error.message : String(error);
  diary.write("refused", reason);
  log(`ERROR: ${reason}`);
  if (!(error instanceof Refusal) && error instanceof Error) log(error.stack ?? "");
  process.exit(REFUSED);
}

function panic(diary: Diary, what: string): never {
  diary.write("crash", what);
  process.stderr.write(`panic: ${what}\n\ngoroutine 1 [running]:\nmain.main()\n`);
  process.exit(PANIC);
}

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} INFO ${line}\n`);
}
