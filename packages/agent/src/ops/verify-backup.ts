import { rm } from "node:fs/promises";
import { join } from "node:path";
import { done, type Outcome, type StoredCopy } from "@belay/shared";
import { fetchCopy } from "../backups/copies/fetch.js";
import { bringBack, readOwn } from "../backups/copies/stand-in.js";
import { needBackup, readBackup } from "../backups/manifest.js";
import { allowBackupFolder } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import type { Host } from "../host.js";
import type { Attempt, Perform } from "./op.js";

/** Reads a backup back (I4). Looks only, unless a copy has to stand in, so a check does the same with one that is there already. */
export const verifyBackupOp: Perform<"verify-backup"> = async (op, host, attempt) => {
  await allowBackupFolder(op.dir, op.id, host);
  if (op.copy !== undefined) return verifyCopy(op.id, op.dir, op.copy, host, attempt);
  if (op.orCopy !== undefined) return verifyOwnOrCopy(op.id, op.dir, op.orCopy, host, attempt);
  if (attempt.check && (await readBackup(op.dir, op.id)) === null) {
    return done(false, { would: `read backup ${op.id} back` });
  }
  const { signal, vouched: tools } = attempt;
  return done(false, await verifyBackup(await needBackup(op.dir, op.id), host, signal, { tools }));
};

/** The host's own backup; where that is no use, its copy takes its place for good, so that nothing is brought here twice. */
async function verifyOwnOrCopy(
  id: string,
  dir: string,
  copy: StoredCopy,
  host: Host,
  attempt: Attempt,
): Promise<Outcome> {
  const { signal, vouched: tools } = attempt;
  const own = await readOwn(id, host, signal, async () =>
    verifyBackup(await needBackup(dir, id), host, signal, { tools }),
  );
  if (own !== null) return done(false, own);
  if (attempt.check) return done(true, { would: `bring the copy of backup ${id} back` });
  return done(true, await bringBack({ id, dir, copy }, host, attempt));
}

/** The copy at belayd, brought into a folder of its own, read back, and removed. */
async function verifyCopy(id: string, dir: string, copy: StoredCopy, host: Host, attempt: Attempt): Promise<Outcome> {
  if (attempt.check) return done(false, { would: `read the copy of ${id} back` });
  const into = `.${id}.copy`;
  try {
    const backup = await fetchCopy({ id, copy, dir, into }, host, attempt);
    return done(false, await verifyBackup(backup, host, attempt.signal, { tools: attempt.vouched }));
  } finally {
    await rm(join(dir, into), { recursive: true, force: true });
  }
}
