import { type BackupResult, BelayError, done, errorInfo, type OpOf } from "@belay/shared";
import { sendCopy } from "../backups/copies/send.js";
import { needBackup, readBackup } from "../backups/manifest.js";
import { allowBackup, takeBackup } from "../backups/take.js";
import { verifyBackup } from "../backups/verify.js";
import { failureOf } from "../facts/disk.js";
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
  const result = await withHooks(op, there !== null, host, attempt, () =>
    there === null ? takeBackup(spec, host, signal) : verifyBackup(there, host, signal, { tools }),
  );
  if (copy === undefined || attempt.check) return done(there === null, result);
  const sent = await sendCopy(await needBackup(spec.dir, spec.id), copy, host, attempt);
  return done(true, { ...result, copies: [sent] });
};

/**
 * Whatever `pre-backup` held up goes on, also when the backup failed. A backup that is there may be of an earlier try, or life, of
 * which nobody knows whether it came to its second hook: that one is run (again). An agent that stops comes back to it.
 */
async function withHooks(
  { spec, hooks }: OpOf<"backup">,
  isThere: boolean,
  host: Host,
  attempt: Attempt,
  work: () => Promise<BackupResult>,
): Promise<BackupResult> {
  if (hooks === undefined || attempt.check) return work();
  const { signal, halt } = attempt;
  const cause = { ...hooks, from: spec.version, to: null };
  const afterwards = () => runHook("post-backup", cause, host, attempt, halt);
  await needHooks(host);
  let result: BackupResult;
  try {
    if (!isThere) await runHook("pre-backup", cause, host, attempt, signal);
    result = await work();
  } catch (thrown) {
    halt.throwIfAborted();
    const error = await failureOf(thrown);
    await afterwards().catch((again: unknown) => {
      halt.throwIfAborted();
      // The first failure says whether it may be tried again.
      const context = { ...error.context, postBackup: errorInfo(again) };
      throw BelayError.from({ ...error, context });
    });
    throw thrown;
  }
  await afterwards();
  return result;
}
