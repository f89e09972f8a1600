import { done } from "@belay/shared";
import { needBackup } from "../backups/manifest.js";
import { verifyBackup } from "../backups/verify.js";
import type { Perform } from "./op.js";

/** Reads a backup back (I4). Looks only, so a check does the same. */
export const verifyBackupOp: Perform<"verify-backup"> = async (op, host, attempt) => {
  await host.allowed.path(op.dir);
  return done(false, await verifyBackup(await needBackup(op.dir, op.id), host, attempt.signal));
};
