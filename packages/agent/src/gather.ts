import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

/** A network or an archive gives pieces of 16 KiB: each written by itself would be a trip to another thread and back. */
const GATHERED_BYTES = 1024 * 1024;
/** Worth a trip of its own, without being copied first. */
const LARGE_BYTES = 256 * 1024;
/** Written meanwhile to the disk, so that the one wait for it at the end is short. */
const SYNCED_BYTES = 8 * GATHERED_BYTES;

/** Hashes and writes what comes in pieces, many of them at once, through one buffer. */
export class Gathering {
  readonly #file: FileHandle;
  readonly #hash: Hash;
  readonly #buffer: Buffer;
  readonly #syncs: boolean;
  #filled = 0;
  #unsynced = 0;
  #syncing: Promise<void> | null = null;
  #failed: { readonly error: unknown } | null = null;

  /**
   * `bytes`: how many there will be, as far as anybody knows. `syncs`: the file will be fsynced when it is whole, so the disk
   * may begin with it at once.
   */
  constructor(file: FileHandle, hash: Hash, { bytes, syncs = false }: { bytes: number; syncs?: boolean }) {
    this.#file = file;
    this.#hash = hash;
    this.#buffer = Buffer.allocUnsafe(Math.max(1, Math.min(bytes, GATHERED_BYTES)));
    this.#syncs = syncs;
  }

  /** Takes a piece; null: it is held, and there is nothing to wait for. Rejects with what writing rejects with. */
  add(piece: Uint8Array): Promise<void> | null {
    if (piece.length >= LARGE_BYTES) return this.#write(this.#takeHeld(), piece);
    const room = this.#buffer.length - this.#filled;
    this.#buffer.set(piece.length <= room ? piece : piece.subarray(0, room), this.#filled);
    this.#filled += Math.min(room, piece.length);
    if (this.#filled < this.#buffer.length) return null;
    return this.#write(this.#takeHeld()).then(() => this.#holdRest(piece.subarray(room)));
  }

  /** Writes what is still held. Nothing that was added is sure to be in the file, or in the hash, before. */
  async flush(): Promise<void> {
    await this.#write(this.#takeHeld());
    await this.#syncing;
    if (this.#failed !== null) throw this.#failed.error;
  }

  async #holdRest(rest: Uint8Array): Promise<void> {
    if (rest.length > 0) await this.add(rest);
  }

  #takeHeld(): Uint8Array {
    const held = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
    return held;
  }

  async #write(...pieces: Uint8Array[]): Promise<void> {
    for (const piece of pieces) this.#hash.update(piece);
    await writeAll(this.#file, pieces);
    for (const { length } of pieces) this.#unsynced += length;
    if (this.#syncs && this.#unsynced >= SYNCED_BYTES && this.#syncing === null) this.#sync();
  }

  #sync(): void {
    this.#unsynced = 0;
    this.#syncing = this.#file.datasync().then(
      () => {
        this.#syncing = null;
      },
      (error: unknown) => {
        // The kernel says so once: a later fsync of the same file would succeed. So it is kept until somebody hears it.
        this.#failed ??= { error };
      },
    );
  }
}

/** All of it by one call, unless the system takes less at once. */
async function writeAll(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let left = pieces.filter(({ length }) => length > 0);
  while (left.length > 0) {
    let { bytesWritten: taken } = await file.writev(left);
    if (taken === 0) throw new Error("the system takes no byte of what is written, and does not say why");
    left = left.flatMap((piece) => {
      const here = Math.min(taken, piece.length);
      taken -= here;
      return here < piece.length ? [piece.subarray(here)] : [];
    });
  }
}
