import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rm, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BelayError } from "@belay/shared";
import { putInPlace, syncPath } from "../durable.js";
import type { CopyStore } from "./store.js";

/** Between two looks at the free space while a copy comes in. */
const LOOK_EVERY_BYTES = 64 * 1024 * 1024;

/** Copies as files: `<dir>/<host>/<name>`. What is under way ends in `.partial`. */
export class FolderStore implements CopyStore {
  readonly #dir: string;
  readonly #minFreeBytes: number;

  constructor(dir: string, minFreeBytes: number) {
    this.#dir = dir;
    this.#minFreeBytes = minFreeBytes;
  }

  get place(): string {
    return `folder ${this.#dir}`;
  }

  async sweep(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#dir, { recursive: true })) {
      if (name.endsWith(".partial")) await rm(join(this.#dir, name), { force: true });
    }
  }

  async put(key: string, body: Readable): Promise<void> {
    const path = join(this.#dir, key);
    const folder = dirname(path);
    const partial = `${path}.${randomUUID()}.partial`;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await this.#needRoom(0);
      // Backups hold keys and secrets: nobody else on this machine reads them.
      await pipeline(body, this.#watchRoom(), createWriteStream(partial, { flags: "wx", mode: 0o600 }));
      await putInPlace(partial, path);
      await syncPath(this.#dir);
    } catch (error) {
      await rm(partial, { force: true });
      throw (error as NodeJS.ErrnoException).code === "ENOSPC" ? this.#full(error) : error;
    }
  }

  async get(key: string): Promise<Readable | null> {
    try {
      // Opened here, so that a file that is not there is known before anything is answered.
      return (await open(join(this.#dir, key), "r")).createReadStream();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.#dir, key), { force: true });
  }

  #watchRoom(): Transform {
    let sinceLook = 0;
    return new Transform({
      transform: (chunk: Buffer, _encoding, next) => {
        sinceLook += chunk.length;
        if (sinceLook < LOOK_EVERY_BYTES) {
          next(null, chunk);
          return;
        }
        sinceLook = 0;
        this.#needRoom(chunk.length).then(() => next(null, chunk), next);
      },
    });
  }

  /** belayd's own database lies on this disk too: it must never be the copies that fill it. */
  async #needRoom(bytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir);
    if (bavail * bsize - bytes < this.#minFreeBytes) throw this.#full(undefined);
  }

  #full(cause: unknown): BelayError {
    return new BelayError("copy-store-full", `no room for another copy in ${this.#dir}`, {
      hint: `At least ${this.#minFreeBytes} bytes stay free there (backupStore.minFreeBytes). Make room, or keep fewer copies.`,
      cause,
    });
  }
}
