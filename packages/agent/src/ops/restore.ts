import { BelayError, done, type OpOf } from "@belay/shared";
import { bringBack, readOwn } from "../backups/copies/stand-in.js";
import { needBackup, type ReadBackup } from "../backups/manifest.js";
import { allowRestore, needRoomToRestore, restoreBackup } from "../backups/restore.js";
import { allowBackupFolder } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import type { Host } from "../host.js";
import type { Attempt, Perform } from "./op.js";

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
  const backup = own ?? (await copiedBackup(op, host, attempt));
  await needRoomToRestore(backup);
  return done(true, await restoreBackup(backup, host, attempt.signal));
};

/** What the host has itself; null if that is no use and there is a copy. */
async function ownBackup(op: OpOf<"restore">, host: Host, attempt: Attempt): Promise<ReadBackup | null> {
  const read = async () => {
    const own = await needBackup(op.dir, op.id);
    await allowRestore(own, host);
    if (attempt.check || op.copy !== undefined) {
      await verifyBackup(own, host, attempt.signal, { tools: attempt.vouched });
    }
    return own;
  };
  return op.copy === undefined ? read() : readOwn(op.id, host, attempt.signal, read);
}

async function copiedBackup(op: OpOf<"restore">, host: Host, attempt: Attempt): Promise<ReadBackup> {
  const { id, dir, copy } = op;
  if (copy !== undefined) await bringBack({ id, dir, copy }, host, attempt);
  return needBackup(dir, id);
}
