import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import type { EtcdBackend } from "../../config-backend.js";
import { diskFull } from "../../facts/disk.js";
import type { Host } from "../../host.js";
import { runTool, type Tool } from "../tool.js";

const ETCDCTL: Tool = { pkg: "etcd-client", why: "it takes and reads snapshots of etcd" };
const STATUS_TIMEOUT_MS = 15_000;
const NO_ROOM = /no space left on device|disk quota exceeded/i;
const NO_MEANS = /out of memory|cannot allocate memory|too many open files|input\/output error/i;

/** One member that answers. */
export interface Member {
  endpoint: string;
  version: string;
  dbBytes: number;
}

/** What `etcdctl snapshot status` says about a file. */
export interface SnapshotStatus {
  hash: number;
  revision: number;
  totalKey: number;
}

/** Runs etcdctl with what it says on stdout as the result. Throws `etcd-failed` with its last words. */
export async function etcdctl(
  host: Pick<Host, "exec">,
  argv: readonly string[],
  options: { env?: Record<string, string>; timeoutMs?: number; signal: AbortSignal },
): Promise<string> {
  const { env = {}, ...rest } = options;
  const result = await runTool(host.exec, ETCDCTL, ["etcdctl", ...argv], {
    ...rest,
    env: { ETCDCTL_API: "3", ...env },
  });
  if (result.code === 0) return result.stdout;
  throw new BelayError("etcd-failed", `etcdctl ${argv.slice(0, 2).join(" ")}: ${lastWords(result.stderr)}`, {
    hint: "run the same by hand and see; agent.yaml names endpoints, certificates and user",
    context: { exit: result.code },
  });
}

/**
 * How etcdctl reaches a member. All of it goes by the environment, because everybody on a host can read argument lists.
 * Throws if the password can't be read.
 */
export async function reaching(config: EtcdBackend, endpoint: string): Promise<Record<string, string>> {
  const { caFile, certFile, keyFile } = config.tls;
  const credentials = await credentialsOf(config);
  return {
    ETCDCTL_ENDPOINTS: endpoint,
    ...(caFile === null ? {} : { ETCDCTL_CACERT: caFile }),
    ...(certFile === null ? {} : { ETCDCTL_CERT: certFile }),
    ...(keyFile === null ? {} : { ETCDCTL_KEY: keyFile }),
    ...(credentials === null ? {} : { ETCDCTL_USER: credentials.user, ETCDCTL_PASSWORD: credentials.password }),
  };
}

export async function credentialsOf(config: EtcdBackend): Promise<{ user: string; password: string } | null> {
  if (config.user === null || config.passwordFile === null) return null;
  return { user: config.user, password: (await readFile(config.passwordFile, "utf8")).trim() };
}

/** The first member that answers, in the owner's order. Throws `backend-unreachable`, saying what each one said. */
export async function findMember(config: EtcdBackend, host: Pick<Host, "exec">, signal: AbortSignal): Promise<Member> {
  const said: string[] = [];
  for (const endpoint of config.endpoints) {
    try {
      const env = await reaching(config, endpoint);
      const text = await etcdctl(host, ["endpoint", "status", "-w", "json"], {
        env,
        signal,
        timeoutMs: STATUS_TIMEOUT_MS,
      });
      const [found] = JSON.parse(text) as { Status: { version: string; dbSize: number } }[];
      if (found !== undefined) return { endpoint, version: found.Status.version, dbBytes: found.Status.dbSize };
      said.push(`${endpoint} says nothing`);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BelayError && error.code === "tool-missing") throw error;
      said.push(`${endpoint}: ${(error as Error).message}`);
    }
  }
  throw new BelayError("backend-unreachable", `no member of etcd answers: ${said.join("; ")}`, {
    hint: "see that etcd runs, and that the endpoints and certificates in agent.yaml are right",
    context: { endpoints: config.endpoints },
  });
}

/** The keys below a prefix, at a revision or now, and the revision that this was. Waits for the member to catch up. */
export async function countKeys(
  prefix: string,
  host: Pick<Host, "exec">,
  options: { env: Record<string, string>; revision?: number; signal: AbortSignal },
): Promise<{ keys: number; revision: number }> {
  const { env, revision, signal } = options;
  const at = revision === undefined ? [] : [`--rev=${revision}`];
  // One key, and how many there are: etcdctl 3.4 has no --count-only.
  const argv = ["get", "--prefix", "--keys-only", "--limit=1", "-w", "json", ...at, "--", prefix];
  const said = JSON.parse(await etcdctl(host, argv, { env, signal, timeoutMs: 60_000 })) as {
    header: { revision: number };
    count?: number;
  };
  return { keys: said.count ?? 0, revision: said.header.revision };
}

/** Throws what `snapshotctl` throws. */
export async function snapshotStatus(
  path: string,
  host: Pick<Host, "exec">,
  signal: AbortSignal,
): Promise<SnapshotStatus> {
  return JSON.parse(await snapshotctl(host, "status", path, ["-w", "json"], signal)) as SnapshotStatus;
}

/**
 * Runs `etcdctl snapshot` on a file that is there. Throws `snapshot-refused` for what etcdctl itself finds wrong with it;
 * `disk-full` and `snapshot-not-opened` for what says nothing about the file.
 */
export async function snapshotctl(
  host: Pick<Host, "exec">,
  verb: "status" | "restore",
  path: string,
  options: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  try {
    return await etcdctl(host, ["snapshot", verb, path, ...options], { signal });
  } catch (error) {
    if (!(error instanceof BelayError) || error.code !== "etcd-failed") throw error;
    const { message, context } = error;
    if (NO_ROOM.test(message)) throw await diskFull(dirname(path), `opening ${path}`, error);
    // Ended from outside, mostly for want of memory.
    if (context?.exit === null || NO_MEANS.test(message)) throw notOpened(message, error);
    throw new BelayError("snapshot-refused", message, { cause: error });
  }
}

/** A snapshot that can't be opened here and now, be it sound or not: no reason to take another in its place. */
export function notOpened(message: string, cause?: unknown): BelayError {
  return new BelayError("snapshot-not-opened", message, {
    hint: "nothing is said against the snapshot: see whether this host has the memory and the disk to open it, and try again",
    cause,
  });
}

/** etcdctl logs JSON lines before it says what the matter is, and where it was after it has broken down. */
function lastWords(stderr: string): string {
  const lines = stderr.trim().split("\n");
  return (lines.findLast((line) => /^(Error|fatal error|panic):/.test(line)) ?? lines.at(-1) ?? "").slice(0, 500);
}
