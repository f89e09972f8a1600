import { readlink, realpath } from "node:fs/promises";
import { sep } from "node:path";
import { parseVersion, type VersionProbe } from "@belay/shared";
import { AGENT_VERSION } from "../about.js";
import { orMissing } from "../durable.js";
import type { Http } from "../http.js";
import { samplesOf } from "./metrics.js";
import { valueAt } from "./pointer.js";

/** A probe asks a port of this very machine; an answer that takes longer is no answer. */
const PROBE_TIMEOUT_MS = 2_000;

/** The version the live process itself reports (I8): the first probe that answers counts. Null: nothing says. */
export async function runningVersion(
  probes: readonly VersionProbe[],
  process: { pid: number | null; versionsDir: string },
  http: Http,
  signal?: AbortSignal,
): Promise<string | null> {
  if (process.pid === null) return null;
  for (const probe of probes) {
    const version = await ask(probe, process.pid, process.versionsDir, http, signal);
    if (version !== null) return version;
  }
  return null;
}

async function ask(
  probe: VersionProbe,
  pid: number,
  versionsDir: string,
  http: Http,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  if (probe.kind === "agent") return AGENT_VERSION;
  if (probe.kind === "process-exe") return versionOfExe(pid, versionsDir);
  const text = await body(probe.url, http, signal);
  if (text === null) return null;
  if (probe.kind === "metric-label") {
    const sample = samplesOf(text, probe.metric).find((each) => each.labels.has(probe.label) && each.value !== 0);
    return parseVersion(sample?.labels.get(probe.label) ?? "");
  }
  try {
    const value = valueAt(JSON.parse(text), probe.pointer);
    return typeof value === "string" ? parseVersion(value) : null;
  } catch {
    // Not JSON: this probe says nothing, the next one may.
    return null;
  }
}

async function body(url: string, http: Http, signal: AbortSignal | undefined): Promise<string | null> {
  try {
    const answer = await http.text(url, { timeoutMs: PROBE_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) });
    return answer.status === 200 ? answer.text : null;
  } catch (error) {
    if (signal?.aborted) throw error;
    return null;
  }
}

async function versionOfExe(pid: number, versionsDir: string): Promise<string | null> {
  const root = await orMissing(realpath(versionsDir));
  const exe = await readlink(`/proc/${pid}/exe`).catch(() => null);
  if (root === null || exe === null || !exe.startsWith(root + sep)) return null;
  return parseVersion(exe.slice(root.length + 1).split(sep)[0] ?? "");
}
