import { readdir, readFile } from "node:fs/promises";

/** One live process. `bornAt` (clock ticks since boot) tells it from a later one that was given the same pid. */
export interface LiveProcess {
  pid: number;
  bornAt: number;
}

/** Looks a process up. Null if there is none, or only a zombie: its parent hasn't asked, but it does nothing any more. */
export async function findProcess(pid: number): Promise<LiveProcess | null> {
  const stat = await readProc(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The command's name is in brackets and may hold anything, brackets and blanks too: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0] ?? "X";
  if (state === "Z" || state === "X" || state === "x") return null;
  return { pid, bornAt: Number(fields[19]) };
}

/** True if the process was started with exactly this `NAME=value` in its environment. Not allowed to look: false. */
export async function isMarked(pid: number, marker: string): Promise<boolean> {
  const environ = await readProc(`/proc/${pid}/environ`);
  return environ !== null && `\0${environ}\0`.includes(`\0${marker}\0`);
}

/** Every live process that carries the mark, oldest first. Reads all of /proc: not for every poll. */
export async function markedProcesses(marker: string): Promise<LiveProcess[]> {
  const found: LiveProcess[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const pid = Number(name);
    if (pid === process.pid || !(await isMarked(pid, marker))) continue;
    const live = await findProcess(pid);
    if (live !== null) found.push(live);
  }
  return found.sort((a, b) => a.bornAt - b.bornAt || a.pid - b.pid);
}

/** True for a live process of this control group of this host's own systemd, or of one below it. */
export async function isInGroup(pid: number, group: string): Promise<boolean> {
  const [init, its] = await Promise.all([readProc("/proc/1/cgroup"), readProc(`/proc/${pid}/cgroup`)]);
  if (init === null || its === null || !isBelow(group, its, init)) return false;
  return (await findProcess(pid)) !== null;
}

/**
 * True where a process, by its /proc/PID/cgroup, is in a control group as systemd names it, or below it (`Delegate=`). systemd
 * names groups from where it lies itself, which `init`, the same file of process 1, says: on a host that is a container, its paths
 * may begin further up; on one that has containers, units in them have the same names further down.
 */
export function isBelow(group: string, its: string, init: string): boolean {
  if (group === "") return false;
  const tops = hierarchiesOf(init);
  for (const [hierarchy, path] of hierarchiesOf(its)) {
    const top = tops.get(hierarchy)?.replace(/\/(init\.scope)?$/, "");
    if (top !== undefined && `${path}/`.startsWith(`${top}${group}/`)) return true;
  }
  return false;
}

/** `<id>:<controllers>:<path>` a line: one hierarchy in the second version of control groups, several in the first. */
function hierarchiesOf(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, hierarchy, path] = /^(\d+:[^:]*):(\/.*)$/.exec(line) ?? [];
    if (hierarchy !== undefined && path !== undefined) found.set(hierarchy, path);
  }
  return found;
}

/** The pids of every live process of a control group, or of one below it. Reads all of /proc. */
export async function processesIn(group: string): Promise<number[]> {
  const pids: number[] = [];
  for (const name of await readdir("/proc")) {
    if (/^[0-9]+$/.test(name) && (await isInGroup(Number(name), group))) pids.push(Number(name));
  }
  return pids;
}

async function readProc(path: string): Promise<string | null> {
  try {
    return await readFile(path, "latin1");
  } catch {
    // Gone meanwhile (ENOENT, ESRCH), or somebody else's (EACCES): in both cases not ours.
    return null;
  }
}
