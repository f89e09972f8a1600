import { chmod, chown, copyFile, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { BackupResult } from "@belay/shared";
import { makeDir, orMissing, syncDir, syncFile } from "../durable.js";
import type { Host } from "../host.js";
import { openBackend } from "./backends/backend.js";
import { runWithPath } from "./command.js";
import type { KeptFile, ReadBackup } from "./manifest.js";
import { verifyBackup } from "./verify.js";

/** Throws unless this host allows every path and command that a restore would touch. */
export async function allowRestore(backup: ReadBackup, host: Host): Promise<void> {
  await host.allowed.path(backup.dir);
  for (const item of backup.manifest.items) {
    if (item.kind === "command") host.allowed.command(item.restore);
    else if (item.kind === "backend") host.allowed.backend(item.backend);
    else {
      await host.allowed.path(item.path);
      if (item.kind !== "absent") await host.allowed.restored(item.path, item.mode);
    }
  }
}

/**
 * Puts a backup back in place, after reading all of it (I4): a bad one touches nothing. Idempotent, so that an
 * interrupted restore is simply repeated. The service must be stopped; that is the caller's to see to.
 */
export async function restoreBackup(backup: ReadBackup, host: Host, signal: AbortSignal): Promise<BackupResult> {
  await allowRestore(backup, host);
  const result = await verifyBackup(backup, host, signal);
  for (const item of backup.manifest.items) {
    if (item.kind === "absent") continue;
    if (item.kind === "command") {
      const argv = host.allowed.command(item.restore);
      await runWithPath(argv, join(backup.dir, item.file), item.restore, host, signal);
    } else if (item.kind === "backend") {
      const saved = { ...item, takenAt: backup.manifest.takenAt };
      await openBackend(item.backend, host).restore(join(backup.dir, item.file), saved, signal);
    } else await putBack(item, join(backup.dir, item.file));
  }
  return result;
}

async function putBack(item: KeptFile, from: string): Promise<void> {
  // Through a link to what it leads to, as it was taken.
  const path = (await orMissing(realpath(item.path))) ?? item.path;
  await makeDir(dirname(path));
  const temp = join(dirname(path), `.${basename(path)}.belay-restore`);
  await copyFile(from, temp);
  await chown(temp, item.uid, item.gid);
  await chmod(temp, item.mode);
  await syncFile(temp);
  if (item.kind === "sqlite") {
    // The log of the newer database would be replayed into the older one: remove it first, and durably.
    await rm(`${path}-wal`, { force: true });
    await rm(`${path}-shm`, { force: true });
    await rm(`${path}-journal`, { force: true });
    await syncDir(dirname(path));
  }
  await rename(temp, path);
  await syncDir(dirname(path));
}
