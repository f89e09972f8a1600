import { done } from "@belay/shared";
import { needBackup, readBackup } from "../backups/manifest.js";
import { verifyBackup } from "../backups/verify.js";
import type { Perform } from "./op.js";

/** Reads a backup back (I4). Looks only, so a check does the same with one that is there already. */
export const verifyBackupOp: Perform<"verify-backup"> = async (op, host, attempt) => {
  await host.allowed.path(op.dir);
  if (attempt.check && (await readBackup(op.dir, op.id)) === null) {
    return done(false, { would: `read backup ${op.id} back` });
  }
  return done(false, await verifyBackup(await needBackup(op.dir, op.id), host, attempt.signal));
};
