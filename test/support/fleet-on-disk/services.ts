import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DiaryLine } from "../standin/src/diary.js";
import { unhooked } from "../unhooked.js";
import { type HostOnDisk, hostOf, type Layout } from "./layout.js";

/** What a host's own endpoint says of itself. */
export interface Running {
  readonly host: string;
  /** Null: nothing answers. */
  readonly version: string | null;
  /** Status code of `/readyz`; null: nothing answers. */
  readonly ready: number | null;
  /** Why it is not ready, in its own words. */
  readonly why: readonly string[];
}

const ASK_TIMEOUT_MS = 2_000;
const LOOK_AGAIN_MS = 50;
const TERM_PATIENCE_MS = 3_000;
const LINES_TOLD = 8;

/** Starts one host's service, as its agent would: detached, logging to its file, findable by its marker. */
export function startService(host: HostOnDisk, env: Readonly<Record<string, string>> = {}): void {
  const log = openSync(host.service.logFile, "a");
  const child = spawn(...unhooked(host.service.argv), {
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...host.service.env, ...env, BELAY_SERVICE: host.service.marker },
  });
  // A program that isn't there shows as "nothing answers", like every other failure of a start.
  child.on("error", () => undefined);
  child.unref();
  closeSync(log);
}

/** Starts every host's service and waits until all are ready. Throws, naming the hosts that are not. */
export async function startServices(layout: Layout, timeoutMs = 30_000): Promise<void> {
  for (const host of layout.hosts) startService(host);
  await waitUntilReady(layout.hosts, timeoutMs);
}

/** Waits until `/readyz` of all these hosts says 200. Throws, naming those that don't and what they say. */
export async function waitUntilReady(hosts: readonly HostOnDisk[], timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (let late = hosts; ; await sleep(LOOK_AGAIN_MS)) {
    const answers = await Promise.all(late.map(async (host) => ({ host, said: await askHost(host) })));
    const waiting = answers.filter(({ said }) => said.ready !== 200);
    if (waiting.length === 0) return;
    if (Date.now() > deadline) {
      const late = await Promise.all(waiting.map(async ({ host, said }) => ({ ...said, log: await endOfLog(host) })));
      throw new Error(`not ready after ${timeoutMs} ms: ${JSON.stringify(late)}`);
    }
    late = waiting.map(({ host }) => host);
  }
}

/** What a service said last: why it isn't there, mostly. */
async function endOfLog(host: HostOnDisk): Promise<string[]> {
  const log = await readFile(host.service.logFile, "utf8").catch((error: Error) => error.message);
  return log.trimEnd().split("\n").slice(-LINES_TOLD);
}

/** Asks every host's own endpoint what runs there. */
export function whatRuns(layout: Layout): Promise<Running[]> {
  return Promise.all(layout.hosts.map(askHost));
}

/** Asks one host's own endpoint what runs there. */
export async function askHost(host: HostOnDisk): Promise<Running> {
  const [metrics, readyz] = await Promise.all([ask(`${host.diag}/metrics`), ask(`${host.diag}/readyz`)]);
  const version = /teleport_build_info\{[^}]*\bversion="([^"]+)"/.exec(metrics?.text ?? "")?.[1] ?? null;
  const why = readyz === null ? [] : ((JSON.parse(readyz.text) as { why?: string[] }).why ?? []);
  return { host: host.name, version, ready: readyz?.code ?? null, why };
}

/** Every start a host's service ever made, oldest first. */
export async function startsOf(layout: Layout, host: string): Promise<DiaryLine[]> {
  return (await diaryOf(layout, host)).filter((line) => line.event === "start");
}

/** All that a host's service wrote down of its life: starts, stops, refusals, crashes. */
export async function diaryOf(layout: Layout, host: string): Promise<DiaryLine[]> {
  const file = join(hostOf(layout, host).data, "starts.jsonl");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as DiaryLine]));
}

/** PIDs of all processes that carry the marker of one of these hosts' services, forks included. */
export async function processesOf(hosts: readonly HostOnDisk[]): Promise<number[]> {
  const markers = new Set(hosts.map((host) => `BELAY_SERVICE=${host.service.marker}`));
  const pids = (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name));
  const carriers = await Promise.all(
    pids.map(async (pid) => {
      // A process that ended meanwhile, or is another user's, is none of ours.
      const environ = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
      return environ.split("\0").some((entry) => markers.has(entry)) ? [Number(pid)] : [];
    }),
  );
  return carriers.flat();
}

/** Ends every service of the layout, whoever started it: TERM, then KILL. Idempotent. Agents must be gone, or they restart them. */
export function stopEverything(layout: Layout): Promise<void> {
  return stopServices(layout.hosts);
}

/** Ends the services of some hosts. Idempotent. */
export async function stopServices(hosts: readonly HostOnDisk[]): Promise<void> {
  const deadline = Date.now() + TERM_PATIENCE_MS;
  let signal: "SIGTERM" | "SIGKILL" = "SIGTERM";
  for (let asked = new Set<number>(); ; ) {
    const pids = await processesOf(hosts);
    if (pids.length === 0) return;
    if (signal === "SIGTERM" && Date.now() > deadline) {
      signal = "SIGKILL";
      asked = new Set();
    }
    // A fork that appears while its parent ends is met on the next look.
    for (const pid of pids.filter((one) => !asked.has(one))) {
      asked.add(pid);
      sendSignal(pid, signal);
    }
    await sleep(LOOK_AGAIN_MS);
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function ask(url: string): Promise<{ code: number; text: string } | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    return { code: response.status, text: await response.text() };
  } catch {
    return null;
  }
}
