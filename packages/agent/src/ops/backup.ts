import { type BackupResult, done, type OpOf } from "@belay/shared";
import { sendCopy } from "../backups/copies/send.js";
import { needBackup, readBackup } from "../backups/manifest.js";
import { allowBackup, takeBackup } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import { needHooks } from "../hooks/find.js";
import { runHook } from "../hooks/run.js";
import type { Host } from "../host.js";
import type { Attempt, Perform } from "./op.js";

/**
 * Keeps what the spec names while the service runs, and reads it back; then, if it shall leave the host, sends a copy away. A
 * whole one of this id is left as it is, and only its copy is sent (again).
 */
export const backup: Perform<"backup"> = async (op, host, attempt) => {
  const { spec } = op;
  const { copy } = spec;
  await allowBackup(spec, host);
  const there = await readBackup(spec.dir, spec.id);
  if (attempt.check && there === null) {
    const away = copy === undefined ? "" : ` and send a copy to ${copy.to}`;
    return done(true, { would: `keep ${spec.items.length} items in ${spec.dir}/${spec.id}${away}` });
  }
  const { signal, vouched: tools } = attempt;
  const result =
    there === null ? await takeWithHooks(op, host, attempt) : await verifyBackup(there, host, signal, { tools });
  if (copy === undefined || attempt.check) return done(there === null, result);
  const sent = await sendCopy(await needBackup(spec.dir, spec.id), copy, host, attempt);
  return done(true, { ...result, copies: [sent] });
};

async function takeWithHooks({ spec, hooks }: OpOf<"backup">, host: Host, attempt: Attempt): Promise<BackupResult> {
  if (hooks === undefined) return takeBackup(spec, host, attempt.signal);
  const cause = { ...hooks, from: spec.version, to: null };
  await needHooks(host);
  try {
    await runHook("pre-backup", cause, host, attempt, attempt.signal);
    return await takeBackup(spec, host, attempt.signal);
  } finally {
    // Whatever the first hook held up goes on, also when the backup failed; an agent that stops comes back to it.
    if (!attempt.halt.aborted) await runHook("post-backup", cause, host, attempt, attempt.halt);
  }
}
