import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BelayError } from "@belay/shared";
import { putInPlace } from "../durable.js";

/** Real ones are about 200 MB; a body that does not end must not fill the disk. */
const MAX_ARTIFACT_BYTES = 4 * 1024 ** 3;

/** At a time of an artifact, for each that fetches it: in pieces of 64 KiB, sending it over TLS costs nearly twice the processor time. */
const READ_BYTES = 256 * 1024;

/**
 * Artifacts on disk, content-addressed: a file is named by the SHA-256 of its bytes, and is there whole or not at all.
 */
export class ArtifactStore {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  pathOf(sha256: string): string {
    return join(this.#dir, sha256);
  }

  /** Size in bytes, or null when it isn't stored. */
  async sizeOf(sha256: string): Promise<number | null> {
    try {
      return (await stat(this.pathOf(sha256))).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  /**
   * Stores a stream whose bytes must have this digest, and answers their number. Throws `artifact-digest` or
   * `artifact-too-large`; then nothing is left behind. Idempotent.
   */
  async put(body: Readable, sha256: string): Promise<number> {
    await mkdir(this.#dir, { recursive: true, mode: 0o750 });
    const partial = join(this.#dir, `.${sha256}.${randomUUID()}.partial`);
    try {
      const hash = createHash("sha256");
      let size = 0;
      const meter = new Transform({
        transform(chunk: Buffer, _encoding, next) {
          size += chunk.length;
          if (size > MAX_ARTIFACT_BYTES) {
            next(
              new BelayError("artifact-too-large", `more than ${MAX_ARTIFACT_BYTES} bytes`, {
                hint: "Is this a release?",
              }),
            );
            return;
          }
          hash.update(chunk);
          next(null, chunk);
        },
      });
      await pipeline(body, meter, createWriteStream(partial, { flags: "wx", mode: 0o640 }));
      const found = hash.digest("hex");
      if (found !== sha256) {
        throw new BelayError("artifact-digest", `the bytes have SHA-256 ${found}, not ${sha256}`, {
          hint: "The file or its .sha256 is damaged or not what it says. Fetch both again.",
          context: { expected: sha256, found, size },
        });
      }
      await putInPlace(partial, this.pathOf(sha256));
      return size;
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  }

  /** Removes what uploads left behind that a crash cut off. For the start, when none can be under way. */
  async sweep(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o750 });
    for (const name of await readdir(this.#dir)) {
      if (name.endsWith(".partial")) await rm(join(this.#dir, name), { force: true });
    }
  }

  /** Bytes `start` to `end` (inclusive) of a stored artifact. */
  read(sha256: string, start: number, end: number): Readable {
    return createReadStream(this.pathOf(sha256), { start, end, highWaterMark: READ_BYTES });
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.pathOf(sha256), { force: true });
  }
}
