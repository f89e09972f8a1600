import { createHmac, randomBytes } from "node:crypto";
import { mkdir, readdir, readlink, realpath, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BelayError, errorInfo } from "@belay/shared";
import { orMissing, present } from "../../durable.js";
import type { Host } from "../../host.js";
import { needBackupRoom } from "../room.js";
import { runTool, TOOL_TIMEOUT_MS, type Tool } from "../tool.js";
import { EtcdGateway } from "./etcd-gateway.js";
import { notOpened, snapshotctl } from "./etcdctl.js";

const ETCD: Tool = { pkg: "etcd-server", why: "a snapshot is opened by etcd itself" };

/** Nobody connects to these: a lone member never dials itself, and it listens on sockets in its own folder only. */
const NOWHERE = "http://127.0.0.1:1";
/** etcd claims two files of 64 MB for its log before it begins. */
export const SERVER_BYTES = 160 * 1024 * 1024;
const SERVER_MEMORY = "1G";
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** One at a time, by this name, so that what a killed agent left behind is found. */
const FOLDER = ".belay-etcd";
/** In that folder: what this etcd believes tokens by. */
const KEY_FILE = "token-key";
const KEY_BYTES = 32;

/**
 * Opens a snapshot in an etcd of its own, which nobody else can reach and which asks nobody who he is, and hands it to `use`. The server
 * and its folder, beside the snapshot's own, are gone afterwards, whatever happens; if this agent is killed, they go at the next
 * call. Throws `tool-missing`, `snapshot-refused` for a snapshot that etcd finds wrong, and `snapshot-not-opened` for what says
 * nothing about it.
 */
export async function withSnapshot<T>(
  snapshot: string,
  beside: string,
  host: Host,
  signal: AbortSignal,
  use: (snapshot: EtcdGateway, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  await runTool(host.exec, ETCD, ["etcd", "--version"], { signal });
  const dir = join(await realpath(beside), FOLDER);
  await clear(dir);
  await needBackupRoom(beside, { bytes: (await stat(snapshot)).size + SERVER_BYTES, inodes: 32 });
  await mkdir(dir, { mode: 0o700 });
  const stopping = new AbortController();
  let running: Promise<void> | null = null;
  try {
    const cluster = ["--name=belay", `--initial-cluster=belay=${NOWHERE}`, `--initial-advertise-peer-urls=${NOWHERE}`];
    await snapshotctl(host, "restore", snapshot, [`--data-dir=${join(dir, "data")}`, ...cluster], signal);
    const key = randomBytes(KEY_BYTES);
    await writeFile(join(dir, KEY_FILE), key, { mode: 0o600 });
    const gone = new AbortController();
    running = serve(dir, cluster, host, AbortSignal.any([signal, stopping.signal])).then(
      (error) => gone.abort(error),
      (error: unknown) => gone.abort(error),
    );
    const alive = AbortSignal.any([signal, gone.signal]);
    // etcd wants host:port of every address: of a Unix socket that is a file's name in the folder it runs in.
    const socketPath = join(dir, "client:0");
    await ready(socketPath, host, alive);
    const refused = (message: string) => notOpened(message);
    const target = { base: "http://etcd", through: { socketPath }, credentials: null, refused };
    const gateway = new EtcdGateway(target, host.http, alive);
    await gateway.unlock(rootsToken(key));
    return await use(gateway, alive);
  } finally {
    stopping.abort();
    await running;
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Users and passwords are part of a snapshot, and may be others than today's. Where etcd asks for them there is always a user root who
 * may do everything, and this etcd takes a token by our own key for his (RFC 7519).
 */
function rootsToken(key: Buffer): string {
  const base64 = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  // Which revision of the users it was given for: asked about for keys, not for what only root may do.
  const signed = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ username: "root", revision: 1 })}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

/** Settles when the server has ended, with what it said. */
async function serve(dir: string, cluster: string[], host: Host, signal: AbortSignal): Promise<BelayError> {
  const urls = ["--listen-client-urls=unix://client:0", "--listen-peer-urls=unix://peer:0"];
  const tokens = `--auth-token=jwt,priv-key=${KEY_FILE},sign-method=HS256`;
  const argv = [
    "etcd",
    tokens,
    `--data-dir=${join(dir, "data")}`,
    ...cluster,
    ...urls,
    `--advertise-client-urls=${NOWHERE}`,
  ];
  // Keeps its heap small: a host's memory is its services'.
  const env = { GOMEMLIMIT: "64MiB" };
  const {
    code,
    signal: killed,
    stderr,
  } = await host.exec.run([...(await aside()), ...argv, "--log-level=error"], {
    timeoutMs: 2 * TOOL_TIMEOUT_MS,
    signal,
    cwd: dir,
    env,
  });
  return notOpened(`etcd ends with ${code ?? killed}: ${stderr.trim().slice(-500)}`);
}

/**
 * What starts a program outside the agent's own unit, where systemd is: with a large state this server alone takes nearly all
 * the memory that the unit may use. It stays a child of the agent, and is ended as one.
 */
async function aside(): Promise<string[]> {
  if (process.getuid?.() !== 0 || !(await present("/run/systemd/system"))) return [];
  return ["systemd-run", "--scope", "--quiet", "--collect", `--property=MemoryMax=${SERVER_MEMORY}`, "--"];
}

async function ready(socketPath: string, host: Host, signal: AbortSignal): Promise<void> {
  const until = host.clock.ticks() + READY_TIMEOUT_MS;
  for (let last = "it says nothing"; ; ) {
    try {
      const { text } = await host.http.text("http://etcd/health", { socketPath, timeoutMs: 2000, signal });
      if (text.includes('"true"')) return;
      last = text.slice(0, 200);
    } catch (error) {
      signal.throwIfAborted();
      last = errorInfo(error).message;
    }
    if (host.clock.ticks() > until) {
      throw notOpened(`the snapshot's own etcd does not get ready: ${last}`);
    }
    await host.clock.sleep(POLL_MS, signal);
  }
}

/** A server that outlived its agent still runs in its folder: whoever works there is ours. */
async function clear(dir: string): Promise<void> {
  for (const pid of await workingIn(dir)) process.kill(pid, "SIGKILL");
  await rm(dir, { recursive: true, force: true });
}

async function workingIn(dir: string): Promise<number[]> {
  if ((await orMissing(stat(dir))) === null) return [];
  const pids: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    // Not ours to read, or gone meanwhile: then it isn't what this agent started.
    const [cwd, exe] = await Promise.all([
      readlink(`/proc/${name}/cwd`).catch(() => ""),
      readlink(`/proc/${name}/exe`).catch(() => ""),
    ]);
    if (cwd === dir && /\/etcd$/.test(exe)) pids.push(Number(name));
  }
  return pids;
}
