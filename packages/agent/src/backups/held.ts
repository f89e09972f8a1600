import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type BackupSpec, BelayError } from "@belay/shared";
import { orMissing, present, syncDir } from "../durable.js";

/** Lies in a snapshot's folder from its first moment on, and says which step took it. */
export const HOLDER = "held-by";

/**
 * Throws `snapshot-held` if another step has taken a snapshot of this name and has not put it back: what it was taken of may
 * have been migrated since, and it may be all that is left (I4). Looks only.
 */
export async function mustBeFree({ dir, id }: BackupSpec, step: string): Promise<void> {
  const holder = (await orMissing(readFile(join(dir, id, HOLDER))))?.toString("utf8").trim();
  if (holder === undefined || holder === step) return;
  throw new BelayError("snapshot-held", `${join(dir, id)} was taken by ${holder}, which was never undone`, {
    hint: "another one in its place might hold migrated data: `belay run rollback` puts this one back. If the old data are back for certain, rename its folder, then retry",
    context: { dir, id, holder },
  });
}

/** What the snapshot was taken of is as it was: it stays as any backup does, and another may take its place. Idempotent. */
export async function letGo({ dir, id }: BackupSpec): Promise<void> {
  const folder = join(dir, id);
  if (!(await present(join(folder, HOLDER)))) return;
  await rm(join(folder, HOLDER));
  await syncDir(folder);
}
