import { done } from "@belay/shared";
import { readBackup } from "../backups/manifest.js";
import { allowBackup, takeBackup } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import type { Perform } from "./op.js";

/** Keeps what the spec names while the service runs, and reads it back. A whole one of this id is left as it is. */
export const backup: Perform<"backup"> = async (op, host, attempt) => {
  const { spec } = op;
  await allowBackup(spec, host);
  const there = await readBackup(spec.dir, spec.id);
  if (there !== null) return done(false, await verifyBackup(there, host, attempt.signal));
  if (attempt.check) return done(true, { would: `keep ${spec.items.length} items in ${spec.dir}/${spec.id}` });
  return done(true, await takeBackup(spec, host, attempt.signal));
};
