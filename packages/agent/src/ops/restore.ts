import { BelayError, done } from "@belay/shared";
import { needBackup } from "../backups/manifest.js";
import { allowRestore, restoreBackup } from "../backups/restore.js";
import { verifyBackup } from "../backups/verify.js";
import type { Perform } from "./op.js";

/** Puts a backup back in place of what is there. Nothing is touched unless the service is stopped and the backup sound. */
export const restore: Perform<"restore"> = async (op, host, attempt) => {
  const service = host.allowed.service(op.service);
  await host.allowed.path(op.dir);
  const backup = await needBackup(op.dir, op.id);
  await allowRestore(backup, host);
  const { state, pid } = await service.status();
  // `failed` with no process is a service between two restarts: it would come up in the middle of the restore.
  if (state !== "stopped" && !attempt.check) {
    throw new BelayError("service-running", `${op.service} is ${state}; a restore needs it stopped`, {
      hint: "stop it first",
      context: { service: op.service, state, pid },
    });
  }
  if (attempt.check) {
    await verifyBackup(backup, host, attempt.signal);
    return done(true, { would: `put ${backup.manifest.items.length} items of backup ${op.id} back` });
  }
  return done(true, await restoreBackup(backup, host, attempt.signal));
};
