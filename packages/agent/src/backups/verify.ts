import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { BackupResult } from "@belay/shared";
import { digestOfFile, orMissing } from "../durable.js";
import type { Host } from "../host.js";
import { openBackend } from "./backends/backend.js";
import { backupCorrupt, backupResult, type ReadBackup } from "./manifest.js";
import { databaseAilment } from "./sqlite.js";

/**
 * Reads every byte of a backup back, and the structure of every database (I4). Without `tools` no program is started: then digests
 * must do, and the result doesn't call it verified. Throws `backup-corrupt`.
 */
export async function verifyBackup(
  backup: ReadBackup,
  host: Host,
  signal: AbortSignal,
  { tools }: { tools: boolean } = { tools: true },
): Promise<BackupResult> {
  for (const item of backup.manifest.items) {
    if (item.kind === "absent") continue;
    const path = join(backup.dir, item.file);
    const meta = await orMissing(stat(path));
    if (meta === null) throw backupCorrupt(backup.dir, item.file, "is missing");
    if (meta.size !== item.size) throw backupCorrupt(backup.dir, item.file, `has ${meta.size} bytes, not ${item.size}`);
    if ((await digestOfFile(path, signal)) !== item.sha256)
      throw backupCorrupt(backup.dir, item.file, "has another digest");
    if (!tools) continue;
    if (item.kind === "backend") {
      const ailment = await openBackend(item.backend, host).ailment(path, item, signal);
      if (ailment !== null) throw backupCorrupt(backup.dir, item.file, ailment);
    }
    if (item.kind !== "sqlite") continue;
    const ailment = await databaseAilment(host.exec, path, signal);
    if (ailment !== null) throw backupCorrupt(backup.dir, item.file, `is no sound database: ${ailment}`);
  }
  return backupResult(backup, tools || backup.manifest.items.every(({ kind }) => kind === "file" || kind === "absent"));
}
