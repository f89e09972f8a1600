import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, done, errorInfo, type OpOf } from "@belay/shared";
import { fetchCopy } from "../backups/copies/fetch.js";
import { needBackup, type ReadBackup } from "../backups/manifest.js";
import { allowRestore, needRoomToRestore, restoreBackup } from "../backups/restore.js";
import { allowBackupFolder } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import { syncDir, syncTree } from "../durable.js";
import type { Host } from "../host.js";
import type { Attempt, Perform } from "./op.js";
import { isRetryable } from "./retryable.js";

/** Puts a backup back in place of what is there. Nothing is touched unless the service is stopped, the backup sound, and room for it. */
export const restore: Perform<"restore"> = async (op, host, attempt) => {
  const service = host.allowed.service(op.service);
  await allowBackupFolder(op.dir, op.id, host);
  const { state, pid } = await service.status();
  // `failed` with no process is a service between two restarts: it would come up in the middle of the restore.
  if (state !== "stopped" && !attempt.check) {
    throw new BelayError("service-running", `${op.service} is ${state}; a restore needs it stopped`, {
      hint: "stop it first",
      context: { service: op.service, state, pid },
    });
  }
  const own = await ownBackup(op, host, attempt);
  if (attempt.check) {
    if (own !== null) await needRoomToRestore(own);
    const what = own === null ? "the copy at belayd" : `${own.manifest.items.length} items`;
    return done(true, { would: `put ${what} of backup ${op.id} back` });
  }
  const backup = own ?? (await bringBack(op, host, attempt));
  await needRoomToRestore(backup);
  return done(true, await restoreBackup(backup, host, attempt.signal));
};

/** What the host has itself, read back; null if that is no use and there is a copy. */
async function ownBackup(op: OpOf<"restore">, host: Host, attempt: Attempt): Promise<ReadBackup | null> {
  try {
    const own = await needBackup(op.dir, op.id);
    await allowRestore(own, host);
    if (attempt.check || op.copy !== undefined) {
      await verifyBackup(own, host, attempt.signal, { tools: attempt.vouched });
    }
    return own;
  } catch (error) {
    attempt.signal.throwIfAborted();
    if (op.copy === undefined || !isNoUse(error)) throw error;
    host.log.warn(
      { backup: op.id, error: errorInfo(error) },
      "the host's own backup is no use: its copy is brought back",
    );
    return null;
  }
}

/** True for what says that a backup isn't there, isn't whole, or can't be read: a disk that fails says `EIO` and the like. */
function isNoUse(error: unknown): boolean {
  if (error instanceof BelayError) return error.code === "backup-missing" || error.code === "backup-corrupt";
  const { code } = errorInfo(error);
  // A full disk, or too many open files, says nothing about the backup: it is read again later.
  return code.startsWith("os-") && !isRetryable(code);
}

/** The copy, brought back and read before it takes the place of what is no use. */
async function bringBack(op: OpOf<"restore">, host: Host, attempt: Attempt): Promise<ReadBackup> {
  const { id, dir, copy } = op;
  if (copy === undefined) return needBackup(dir, id);
  const fetched = await fetchCopy({ id, copy, dir, into: `.${id}.copy` }, host, attempt);
  try {
    await verifyBackup(fetched, host, attempt.signal, { tools: attempt.vouched });
    await syncTree(fetched.dir);
    await rm(join(dir, id), { recursive: true, force: true });
    await rename(fetched.dir, join(dir, id));
    await syncDir(dir);
  } finally {
    await rm(fetched.dir, { recursive: true, force: true });
  }
  return needBackup(dir, id);
}
