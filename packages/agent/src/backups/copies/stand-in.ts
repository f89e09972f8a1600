import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type BackupResult, BelayError, errorInfo, type StoredCopy } from "@belay/shared";
import { syncDir, syncTree } from "../../durable.js";
import type { Host } from "../../host.js";
import type { Attempt } from "../../ops/op.js";
import { isRetryable } from "../../ops/retryable.js";
import { verifyBackup } from "../verify.js";
import { fetchCopy } from "./fetch.js";

/** What `read` makes of the host's own backup; null where that is gone, damaged or unreadable, so that its copy must stand in. */
export async function readOwn<T>(
  id: string,
  host: Host,
  signal: AbortSignal,
  read: () => Promise<T>,
): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    signal.throwIfAborted();
    if (!isNoUse(error)) throw error;
    host.log.warn({ backup: id, error: errorInfo(error) }, "the host's own backup is no use: its copy is brought back");
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

/** The copy, brought back and read before it takes the place of what is no use. Throws as `fetchCopy` and `verifyBackup` do. */
export async function bringBack(
  { id, dir, copy }: { readonly id: string; readonly dir: string; readonly copy: StoredCopy },
  host: Host,
  attempt: Attempt,
): Promise<BackupResult> {
  const fetched = await fetchCopy({ id, copy, dir, into: `.${id}.copy` }, host, attempt);
  try {
    const result = await verifyBackup(fetched, host, attempt.signal, { tools: attempt.vouched });
    await syncTree(fetched.dir);
    await rm(join(dir, id), { recursive: true, force: true });
    await rename(fetched.dir, join(dir, id));
    await syncDir(dir);
    return result;
  } finally {
    await rm(fetched.dir, { recursive: true, force: true });
  }
}
