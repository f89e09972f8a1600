import { done } from "@belay/shared";
import { readBackup } from "../backups/manifest.js";
import { allowBackup, takeBackup } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import { needHooks, runHook } from "../hooks/run.js";
import type { Perform } from "./op.js";

/** Keeps what the spec names while the service runs, and reads it back. A whole one of this id is left as it is. */
export const backup: Perform<"backup"> = async (op, host, attempt) => {
  const { spec } = op;
  await allowBackup(spec, host);
  const there = await readBackup(spec.dir, spec.id);
  if (there !== null) return done(false, await verifyBackup(there, host, attempt.signal));
  if (attempt.check) return done(true, { would: `keep ${spec.items.length} items in ${spec.dir}/${spec.id}` });
  const { hooks } = op;
  if (hooks === undefined) return done(true, await takeBackup(spec, host, attempt.signal));
  const cause = { ...hooks, from: spec.version, to: null };
  await needHooks(host);
  try {
    await runHook("pre-backup", cause, host, attempt, attempt.signal);
    return done(true, await takeBackup(spec, host, attempt.signal));
  } finally {
    // Whatever the first hook held up goes on, also when the backup failed; an agent that stops comes back to it.
    if (!attempt.halt.aborted) await runHook("post-backup", cause, host, attempt, attempt.halt);
  }
};
