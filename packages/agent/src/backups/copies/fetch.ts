import { rm } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, type StoredCopy } from "@belay/shared";
import { isFull, makeDir } from "../../durable.js";
import { diskFull } from "../../facts/disk.js";
import type { Host } from "../../host.js";
import type { Attempt } from "../../ops/op.js";
import { BACKUP_MANIFEST, type ReadBackup, readBackup } from "../manifest.js";
import { needBackupRoom } from "../room.js";
import { decrypted } from "./age.js";
import { Tally, unpackBackup } from "./archive.js";
import { getCopy } from "./belayd.js";

/** A backup has at most 64 items. */
const INODES = 80;

/**
 * Brings a copy back from belayd into the new folder `into`, its digest checked while it comes, decrypted and unpacked on
 * the way. Nothing is there afterwards unless all of it is. Not yet verified beyond that. Throws `copy-damaged` for other
 * bytes than were sent, `copy-corrupt` for what is no backup of this id.
 */
export async function fetchCopy(
  what: { id: string; copy: StoredCopy; dir: string; into: string },
  host: Host,
  attempt: Pick<Attempt, "signal" | "progress">,
): Promise<ReadBackup> {
  const { id, copy, dir, into } = what;
  const { signal } = attempt;
  await rm(join(dir, into), { recursive: true, force: true });
  await needBackupRoom(dir, { bytes: copy.bytes, inodes: INODES });
  try {
    await makeDir(dir, 0o700);
    const came = new Tally();
    const tell = (bytes: number) =>
      attempt.progress("bringing a copy back", { done: bytes, total: copy.bytes, unit: "bytes" });
    const stream = checked(came.through(getCopy(id, copy.sha256, host, signal), tell), came, copy, id);
    await unpackBackup(copy.encrypted ? decrypted(stream, host, signal) : stream, join(dir, into), copy.bytes, signal);
    const backup = await readBackup(dir, into, id);
    if (backup !== null) return backup;
    throw new BelayError("copy-corrupt", `the copy of ${id} holds no ${BACKUP_MANIFEST}`, {
      hint: "it was not made by Belay, or for another backup",
    });
  } catch (error) {
    const full = isFull(error) ? await diskFull(dir, `bringing the copy of ${id} back`, error) : null;
    await rm(join(dir, into), { recursive: true, force: true });
    throw full ?? error;
  }
}

/** Ends only if it was what was sent: whoever takes the last bytes knows that all of them were right. */
async function* checked(
  stream: AsyncIterable<Uint8Array>,
  came: Tally,
  copy: StoredCopy,
  id: string,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    // More than was sent is never written to this disk.
    if (came.bytes > copy.bytes) throw other(id, copy, came);
    yield chunk;
  }
  if (came.bytes !== copy.bytes || came.sha256() !== copy.sha256) throw other(id, copy, came);
}

function other(id: string, copy: StoredCopy, came: Tally): BelayError {
  return new BelayError(
    "copy-damaged",
    `the copy of ${id} is not what was sent: ${came.bytes} of ${copy.bytes} bytes`,
    {
      hint: "nothing of it was used. Look at belayd's store; another copy, or the host's own backup, may be whole",
      context: { expected: copy.bytes, found: came.bytes },
    },
  );
}
