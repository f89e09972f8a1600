import { readFile } from "node:fs/promises";

/** Linux counts processor time in these, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/**
 * Processor time that a process has used so far, all threads, milliseconds. Unlike a time on the wall it hardly depends
 * on what else the machine does.
 */
export async function cpuMsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The second field, the name, is in parentheses and may hold anything; user and system time are 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}
