import { createHash, type Hash } from "node:crypto";
import { chmod } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { Pack } from "tar";
import { unpack } from "../../versions/unpack.js";
import { BACKUP_MANIFEST, type BackupManifest } from "../manifest.js";

/** What is in memory at once while a file of any size is packed. */
const READ_BYTES = 64 * 1024;

/** A backup's folder as one stream: the manifest first, then each file, always in the same order, nothing else. */
export async function* packBackup(dir: string, manifest: BackupManifest): AsyncGenerator<Uint8Array> {
  const names = [BACKUP_MANIFEST, ...filesOf(manifest)];
  // portable: who owned the copy on this host's disk is not what it says; the manifest knows owners and modes.
  const pack = new Pack({ cwd: dir, portable: true, noMtime: true, strict: true, jobs: 1, maxReadSize: READ_BYTES });
  for (const name of names) pack.write(`./${name}`);
  pack.end();
  for await (const chunk of pack) yield chunk;
}

/**
 * Unpacks such a stream into a new folder that only its owner can enter. The caller removes the folder when this throws.
 * Throws `copy-corrupt` for what can't be the archive of a backup, and what the stream throws.
 */
export async function unpackBackup(
  archive: AsyncIterable<Uint8Array>,
  into: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  try {
    const files = await unpack(archive, into, { strip: 0, maxUnpackedBytes: maxBytes }, signal);
    await chmod(into, 0o700);
    const odd = files.find((file) => "link" in file || file.path.includes("/"));
    if (odd !== undefined) throw new BelayError("artifact-unsafe", `${odd.path} is no file of a backup`);
  } catch (error) {
    if (!(error instanceof BelayError) || !error.code.startsWith("artifact-")) throw error;
    throw new BelayError("copy-corrupt", `the copy is no backup's archive: ${error.message}`, {
      hint: "nothing of it was used; take another backup",
      cause: error,
    });
  }
}

function filesOf(manifest: BackupManifest): string[] {
  return manifest.items.flatMap((item) => (item.kind === "absent" ? [] : [item.file]));
}

/** What has gone through a stream. */
export class Tally {
  bytes = 0;
  readonly #hash: Hash = createHash("sha256");

  /** Passes everything on, counting. */
  async *through(stream: AsyncIterable<Uint8Array>, passed: (bytes: number) => void): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream) {
      this.#hash.update(chunk);
      this.bytes += chunk.length;
      passed(this.bytes);
      yield chunk;
    }
  }

  /** Once, at the end. */
  sha256(): string {
    return this.#hash.digest("hex");
  }
}
