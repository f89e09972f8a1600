import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncPath } from "../durable.js";
import { auditDamaged } from "./damaged.js";

/** The log's files on disk. What `put` wrote is durable, name and all, once `sync` settled. */
export class AuditFolder {
  readonly dir: string;
  /** Folders whose own entries are to be made durable. */
  readonly #touched = new Set<string>();

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Null: there is no such file. */
  async read(path: string): Promise<Buffer | null> {
    try {
      return await readFile(join(this.dir, path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return null;
      throw error;
    }
  }

  /** A file that the log can't be without. Throws `audit-damaged` where it is missing. */
  async mustRead(path: string): Promise<Buffer> {
    const bytes = await this.read(path);
    if (bytes === null) throw auditDamaged(`${join(this.dir, path)} is missing`);
    return bytes;
  }

  /** Puts a file in place of an older one as one step: whoever reads sees the one or the other. */
  async put(path: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.dir, path);
    const folder = dirname(file);
    if (!this.#touched.has(folder)) {
      await mkdir(folder, { recursive: true, mode: 0o750 });
      for (let at = folder; at.length >= this.dir.length; at = dirname(at)) this.#touched.add(at);
    }
    const handle = await open(`${file}.new`, "w", 0o640);
    try {
      await handle.writeFile(bytes);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
  }

  async sync(): Promise<void> {
    for (const folder of this.#touched) {
      await syncPath(folder);
      this.#touched.delete(folder);
    }
  }

  /** Idempotent. Not durable: what is removed is not needed, and does no harm where it stays. */
  async remove(path: string): Promise<void> {
    await rm(join(this.dir, path), { recursive: true, force: true });
  }
}
