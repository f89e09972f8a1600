import { readFileSync } from "node:fs";
import { hostname } from "node:os";

/** An auth that is alive on a backend, as it says there itself. */
export interface Instance {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  readonly birth: string;
  /** Milliseconds since the epoch of its last heartbeat. */
  readonly at: number;
}

/** On another machine a process can't be looked at, so its heartbeat speaks for it, for so long. */
const SILENT_AFTER_MS = 2_000;

/** This very process as an instance. `at` is for the heartbeat to fill in. */
export function thisInstance(name: string, version: string): Instance {
  const birth = birthOf("self") ?? "";
  const host = hostname();
  return { id: `${host}/${process.pid}/${birth}`, name, version, host, pid: process.pid, birth, at: 0 };
}

export function isAlive(instance: Instance): boolean {
  if (instance.host !== hostname()) return instance.at > Date.now() - SILENT_AFTER_MS;
  return birthOf(instance.pid) === instance.birth;
}

/**
 * When the process was born, in clock ticks since boot; null: no such process, or only its remains. With the PID it
 * names a process for good: a recycled PID has another birth.
 */
export function birthOf(pid: number | "self"): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The command's name may hold spaces and parentheses: what follows its last parenthesis does not.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  return state === "Z" || state === "X" ? null : (fields[19] ?? null);
}
