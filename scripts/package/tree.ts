import { createHash } from "node:crypto";
import { chmod, copyFile, lutimes, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

/** The files of a package, laid out in a folder as they will lie on a host. Modes are set whatever the umask. */
export class Tree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** A folder and those above it, each readable by all unless it was made stricter before. */
  async dir(path: string, mode = 0o755): Promise<void> {
    const parts = path.split("/").filter((part) => part !== "");
    let at = this.root;
    await mkdir(at, { recursive: true });
    await chmod(at, 0o755);
    for (const [index, part] of parts.entries()) {
      at = join(at, part);
      const made = await mkdir(at, { recursive: true });
      if (made !== undefined || index === parts.length - 1) await chmod(at, index === parts.length - 1 ? mode : 0o755);
    }
  }

  async file(path: string, contents: string | Buffer, mode = 0o644): Promise<void> {
    await this.#parent(path);
    await writeFile(join(this.root, path), contents);
    await chmod(join(this.root, path), mode);
  }

  async copy(path: string, from: string, mode = 0o644): Promise<void> {
    await this.#parent(path);
    await copyFile(from, join(this.root, path));
    await chmod(join(this.root, path), mode);
  }

  /** A file as documentation is shipped: compressed, with neither name nor date inside. */
  gzip(path: string, contents: string): Promise<void> {
    return this.file(`${path}.gz`, gzipSync(contents, { level: 9 }));
  }

  async link(path: string, target: string): Promise<void> {
    await this.#parent(path);
    await symlink(target, join(this.root, path));
  }

  /** Every path below the root, folders included, in one order everywhere. */
  async paths(): Promise<string[]> {
    return (await readdir(this.root, { recursive: true })).sort();
  }

  /** What `md5sums` holds: a line for every plain file. */
  async md5sums(): Promise<string> {
    const lines: string[] = [];
    for (const entry of await readdir(this.root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const digest = createHash("md5")
        .update(await readFile(path))
        .digest("hex");
      lines.push(`${digest}  ${path.slice(this.root.length + 1)}\n`);
    }
    return lines.sort((a, b) => (a.slice(34) < b.slice(34) ? -1 : 1)).join("");
  }

  /** As Debian counts it: files in whole KiB, everything else as one. */
  async installedKib(): Promise<number> {
    let kib = 1;
    for (const entry of await readdir(this.root, { recursive: true, withFileTypes: true })) {
      kib += entry.isFile() ? Math.ceil((await stat(join(entry.parentPath, entry.name))).size / 1024) : 1;
    }
    return kib;
  }

  /** Gives everything one date. */
  async date(seconds: number): Promise<void> {
    for (const path of ["", ...(await this.paths())]) await lutimes(join(this.root, path), seconds, seconds);
  }

  async #parent(path: string): Promise<void> {
    await mkdir(this.root, { recursive: true });
    const made = await mkdir(join(this.root, dirname(path)), { recursive: true });
    if (made !== undefined) await this.dir(dirname(path));
  }
}
