import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { BELAYD_ITSELF, type Detail, type NewEntry } from "./entry.js";
import type { AuditLog } from "./log.js";

/** Looked at for the start before: belayd is restarted more often than this fills up. */
const MAX_SCANNED = 10_000;

/**
 * What belayd says of itself when it starts: its version, and digests of the files that it goes by (secrets stay where they
 * are). `before`: the same of the last time, where anything of it is different.
 */
export async function startedEntry(
  audit: Pick<AuditLog, "backwards">,
  about: Detail,
  files: Readonly<Record<string, string>>,
): Promise<NewEntry> {
  const after: Detail = {};
  for (const [name, path] of Object.entries(files)) after[name] = await digestOf(path);
  const entry: NewEntry = { who: BELAYD_ITSELF, from: null, action: "belayd-started", phase: "done", about, after };
  let scanned = 0;
  for await (const { action, after: before } of audit.backwards()) {
    if (action === "belayd-started" && before !== undefined) {
      return Object.keys({ ...before, ...after }).some((name) => before[name] !== after[name])
        ? { ...entry, before }
        : entry;
    }
    scanned += 1;
    if (scanned === MAX_SCANNED) break;
  }
  return entry;
}

async function digestOf(path: string): Promise<string | null> {
  try {
    return createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  } catch {
    // What can't be read is said by whoever needs it.
    return null;
  }
}
