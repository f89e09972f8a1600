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

  /** Takes a piece. Throws what writing throws. */
  async add(piece: Uint8Array): Promise<void> {
    if (this.#filled === 0 && piece.length >= LARGE_BYTES) {
      await this.#write(piece);
      return;
    }
    for (let from = 0; from < piece.length; ) {
      const part = piece.subarray(from, from + this.#buffer.length - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled === this.#buffer.length) await this.#writeHeld();
    }
  }

  /** Writes what is still held. Nothing that was added is sure to be in the file, or in the hash, before. */
  async flush(): Promise<void> {
    await this.#writeHeld();
    await this.#syncing;
    if (this.#failed !== null) throw this.#failed.error;
  }

  async #writeHeld(): Promise<void> {
    const held = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
    await this.#write(held);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let from = 0; from < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, from);
      from += bytesWritten;
    }
    this.#unsynced += bytes.length;
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
