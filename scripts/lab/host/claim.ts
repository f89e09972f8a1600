import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FILE = "claim.json";

/** Who made a lab: a process, told apart from a later one of the same pid by when it began. */
interface Claim {
  readonly pid: number;
  readonly began: string;
  /** It was left up on purpose. */
  readonly kept: boolean;
}

/** What there is of a lab: nothing, one that somebody works with, one that was kept up, or what a dead process left. */
export type Standing = "none" | "at work" | "kept" | "left behind";

/** Writes down that this process works with the lab in this folder. */
export function claim(dir: string): Promise<void> {
  return write(dir, false);
}

/** From now on the lab is somebody's who looks at it, and outlives this process. */
export function keep(dir: string): Promise<void> {
  return write(dir, true);
}

export async function standingOf(dir: string): Promise<Standing> {
  const text = await readFile(join(dir, FILE), "utf8").catch(() => null);
  if (text === null) return "none";
  const claimed = parsed(text);
  // A claim is written whole or not at all: one that can't be read has met a power cut.
  if (claimed === null) return "left behind";
  const { pid, began, kept } = claimed;
  if (kept) return "kept";
  return (await beginningOf(pid)) === began ? "at work" : "left behind";
}

async function write(dir: string, kept: boolean): Promise<void> {
  const made: Claim = { pid: process.pid, began: (await beginningOf(process.pid)) ?? "", kept };
  await writeFile(join(dir, `${FILE}.new`), JSON.stringify(made));
  await rename(join(dir, `${FILE}.new`), join(dir, FILE));
}

function parsed(text: string): Claim | null {
  try {
    return JSON.parse(text) as Claim;
  } catch {
    return null;
  }
}

/** When a process began, in the kernel's ticks since the boot; null: it doesn't run. */
async function beginningOf(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  // The name, the second field, is in parentheses and may hold anything; the beginning is the twentieth behind it.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}
