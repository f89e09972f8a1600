import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

/** A network or an archive gives pieces of 16 KiB: each written by itself would be a trip to another thread and back. */
const GATHERED_BYTES = 1024 * 1024;

/** Hashes and writes what comes in pieces, many of them at once, through one buffer. */
export class Gathering {
  readonly #file: FileHandle;
  readonly #hash: Hash;
  readonly #buffer: Buffer;
  #filled = 0;

  /** `bytes`: how many there will be, as far as anybody knows. */
  constructor(file: FileHandle, hash: Hash, bytes: number) {
    this.#file = file;
    this.#hash = hash;
    this.#buffer = Buffer.allocUnsafe(Math.max(1, Math.min(bytes, GATHERED_BYTES)));
  }

  /** Takes a piece. Throws what writing throws. */
  async add(piece: Uint8Array): Promise<void> {
    for (let from = 0; from < piece.length; ) {
      const part = piece.subarray(from, from + this.#buffer.length - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled === this.#buffer.length) await this.flush();
    }
  }

  /** Writes what is still held. Nothing that was added is sure to be in the file, or in the hash, before. */
  async flush(): Promise<void> {
    const held = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
    this.#hash.update(held);
    for (let from = 0; from < held.length; ) {
      const { bytesWritten } = await this.#file.write(held, from);
      from += bytesWritten;
    }
  }
}
