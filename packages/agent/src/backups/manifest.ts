import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type BackupResult, BelayError } from "@belay/shared";
import { orMissing } from "../durable.js";
import type { Backend, SavedState } from "./backends/backend.js";

export const BACKUP_MANIFEST = "manifest.json";

/** What a backup holds, beside the items themselves. */
export interface BackupManifest {
  id: string;
  /** Milliseconds since the epoch, the host's clock. */
  takenAt: number;
  version: string | null;
  /** The host it was taken on, and by which agent. Missing in backups of the first agents. */
  host?: string;
  agentVersion?: string;
  items: BackupRecord[];
}

export type BackupRecord = KeptFile | KeptCommand | KeptBackend | Absent;
interface Kept {
  /** Name within the backup's folder. */
  file: string;
  size: number;
  sha256: string;
  /** The program that made it, and its version; missing where bytes were simply copied. */
  tool?: string;
}
export interface KeptFile extends Kept {
  kind: "file" | "sqlite";
  path: string;
  uid: number;
  gid: number;
  mode: number;
}
export interface KeptCommand extends Kept {
  kind: "command";
  command: string;
  restore: string;
}
export interface KeptBackend extends Kept {
  kind: "backend";
  /** Its name in agent.yaml: a restore goes by what that says then. */
  backend: string;
  engine: Backend["engine"];
  /** Where it was, without a secret. */
  from: string;
  tool: string;
  facts: SavedState["facts"];
}
/** An optional item that wasn't there: a restore leaves its path alone. */
interface Absent {
  kind: "absent";
  path: string;
}

export interface ReadBackup {
  dir: string;
  manifest: BackupManifest;
  sha256: string;
}

/**
 * Null if there is no whole backup of this id in the folder of that name, or another. Throws `backup-corrupt` if its
 * manifest can't be read as one.
 */
export async function readBackup(dir: string, name: string, id = name): Promise<ReadBackup | null> {
  const folder = join(dir, name);
  const text = await orMissing(readFile(join(folder, BACKUP_MANIFEST)));
  if (text === null) return null;
  try {
    const manifest = JSON.parse(text.toString("utf8")) as BackupManifest;
    if (manifest.id === id && Array.isArray(manifest.items) && manifest.items.every(isInside)) {
      return { dir: folder, manifest, sha256: createHash("sha256").update(text).digest("hex") };
    }
  } catch {
    // Not JSON: the same complaint as below.
  }
  throw backupCorrupt(folder, BACKUP_MANIFEST, "is not the manifest of this backup");
}

/** A name that leads out of the backup's folder is in no manifest that Belay has written. */
function isInside(item: BackupRecord): boolean {
  return item.kind === "absent" || (item.file !== ".." && /^[^/\0]+$/.test(item.file));
}

/** The same, but it must be there: throws `backup-missing`. */
export async function needBackup(dir: string, id: string): Promise<ReadBackup> {
  const backup = await readBackup(dir, id);
  if (backup !== null) return backup;
  throw new BelayError("backup-missing", `there is no backup ${id} in ${dir}`, {
    hint: "see `belay backup list`; without it there is nothing to go back to",
    context: { id, dir },
  });
}

export function backupResult(backup: ReadBackup, verified: boolean): BackupResult {
  const { id, items, takenAt, version } = backup.manifest;
  const kept = items.filter((item) => item.kind !== "absent");
  const bytes = kept.reduce((sum, item) => sum + item.size, 0);
  return { backup: id, sha256: backup.sha256, bytes, items: kept.length, takenAt, version, verified };
}

export function backupCorrupt(dir: string, file: string, how: string): BelayError {
  return new BelayError("backup-corrupt", `backup ${dir}: ${file} ${how}`, {
    hint: "this backup can't be trusted: take another before going on",
    context: { dir, file },
  });
}
