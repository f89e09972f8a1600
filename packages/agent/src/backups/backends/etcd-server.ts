import { mkdir, readdir, readlink, realpath, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, errorInfo } from "@belay/shared";
import { orMissing, present } from "../../durable.js";
import type { Host } from "../../host.js";
import { needBackupRoom } from "../room.js";
import { TOOL_TIMEOUT_MS } from "../tool.js";
import { etcdctl } from "./etcdctl.js";

/** Nobody connects to these: a lone member never dials itself, and it listens on sockets in its own folder only. */
const NOWHERE = "http://127.0.0.1:1";
/** etcd claims two files of 64 MB for its log before it begins. */
export const SERVER_BYTES = 160 * 1024 * 1024;
const SERVER_MEMORY = "1G";
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** One at a time, by this name, so that what a killed agent left behind is found. */
const FOLDER = ".belay-etcd";

/**
 * Opens a snapshot in an etcd of its own, which nobody else can reach, and hands its socket to `use`. The server and its
 * folder, beside the snapshot's own, are gone afterwards, whatever happens; if this agent is killed, they go at the next
 * call. Throws `tool-missing`, and `etcd-failed` for a snapshot that can't be opened.
 */
export async function withSnapshot<T>(
  snapshot: string,
  beside: string,
  host: Host,
  signal: AbortSignal,
  use: (socketPath: string, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const dir = join(await realpath(beside), FOLDER);
  await clear(dir);
  await needBackupRoom(beside, { bytes: (await stat(snapshot)).size + SERVER_BYTES, inodes: 32 });
  await mkdir(dir, { mode: 0o700 });
  const stopping = new AbortController();
  let running: Promise<void> | null = null;
  try {
    const cluster = ["--name=belay", `--initial-cluster=belay=${NOWHERE}`, `--initial-advertise-peer-urls=${NOWHERE}`];
    await etcdctl(host, ["snapshot", "restore", snapshot, `--data-dir=${join(dir, "data")}`, ...cluster], { signal });
    const gone = new AbortController();
    running = serve(dir, cluster, host, AbortSignal.any([signal, stopping.signal])).then(
      (error) => gone.abort(error),
      (error: unknown) => gone.abort(error),
    );
    const alive = AbortSignal.any([signal, gone.signal]);
    // etcd wants host:port of every address: of a Unix socket that is a file's name in the folder it runs in.
    const socketPath = join(dir, "client:0");
    await ready(socketPath, host, alive);
    return await use(socketPath, alive);
  } finally {
    stopping.abort();
    await running;
    await rm(dir, { recursive: true, force: true });
  }
}

/** Settles when the server has ended, with what it said. */
async function serve(dir: string, cluster: string[], host: Host, signal: AbortSignal): Promise<BelayError> {
  const urls = ["--listen-client-urls=unix://client:0", "--listen-peer-urls=unix://peer:0"];
  const argv = ["etcd", `--data-dir=${join(dir, "data")}`, ...cluster, ...urls, `--advertise-client-urls=${NOWHERE}`];
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
  return new BelayError("etcd-failed", `etcd ends with ${code ?? killed}: ${stderr.trim().slice(-500)}`, {
    hint: "the snapshot can't be opened on this host; see what etcd says",
  });
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
      throw new BelayError("etcd-failed", `the snapshot's own etcd does not get ready: ${last}`, {
        hint: "see whether this host has the memory and the disk for it",
      });
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
