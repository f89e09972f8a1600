import { readFileSync } from "node:fs";

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
