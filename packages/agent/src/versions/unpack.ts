import { createHash, type Hash } from "node:crypto";
import { chmod, type FileHandle, link, mkdir, open, realpath, symlink } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { ArchiveJudge, type ArchiveParser, blocksOf, parse, type SafeEntry, unsafe } from "@belay/shared";
import { Parser, type ReadEntry } from "tar";
import { makeDir } from "../durable.js";
import { Gathering } from "../gather.js";
import { MANIFEST_NAME, type ManifestFile } from "./manifest.js";

const DIR_MODE = 0o755;

export interface UnpackLimits {
  /** Leading path components to drop. */
  strip: number;
  maxUnpackedBytes: number;
  /** Folder inside the new one that everything goes to. */
  below?: string;
}

/**
 * Unpacks a tarball, compressed or not, into a new folder and returns what it holds. The caller removes the folder when
 * this throws. Links are made last, so that no file is ever written through one, and are then followed for real: what
 * reads as harmless word by word may still lead out over another link. Throws `artifact-unsafe`, `artifact-too-large`,
 * `artifact-unreadable`.
 */
export async function unpack(
  tarball: AsyncIterable<Uint8Array>,
  into: string,
  limits: UnpackLimits,
  signal: AbortSignal,
): Promise<ManifestFile[]> {
  await mkdir(into);
  await chmod(into, DIR_MODE);
  const below = limits.below ?? "";
  if (below !== "") await makeDir(join(into, below));
  const judge = new ArchiveJudge({ ...limits, reserved: MANIFEST_NAME });
  const unpacking = new Unpacking(join(into, below), judge);
  const parser = new Parser({ strict: true, onReadEntry: (entry) => unpacking.take(entry) });
  parser.on("ignoredEntry", (entry: ReadEntry) => unpacking.fail(unsafe(entry.path, `is a ${entry.type}`)));
  parser.on("meta", (text: string) => unpacking.extended(text));
  const broken = new AbortController();
  unpacking.failed = (error) => broken.abort(error);
  const blocks = blocksOf(tarball, judge.maxStreamBytes, () => judge.tooLarge());
  try {
    await parse(parser as ArchiveParser, blocks, AbortSignal.any([signal, broken.signal]));
  } catch (error) {
    await unpacking.abandon(error);
    signal.throwIfAborted();
    throw unpacking.error;
  }
  await unpacking.finished();
  const files = await unpacking.makeLinks();
  return files.map((file) => ({ ...file, path: join(below, file.path) }));
}

class Unpacking {
  error: unknown;
  failed: (error: unknown) => void = () => {};
  readonly #root: string;
  readonly #judge: ArchiveJudge;
  readonly #files: ManifestFile[] = [];
  readonly #links: Extract<SafeEntry, { kind: "symlink" | "hardlink" }>[] = [];
  #writing: Promise<void> = Promise.resolve();
  readonly #abandoned: Promise<never>;
  #abandon: (error: unknown) => void = () => {};

  constructor(root: string, judge: ArchiveJudge) {
    this.#root = root;
    this.#judge = judge;
    this.#abandoned = new Promise((_, reject) => {
      this.#abandon = reject;
    });
    // Mostly nobody is waiting for it.
    this.#abandoned.catch(() => {});
  }

  /** Takes entries in order; the parser waits for each to be read before it gives the next. */
  take(entry: ReadEntry): void {
    this.#writing = this.#writing
      .then(() => this.#write(entry))
      .catch((error: unknown) => {
        this.fail(error);
        entry.resume();
      });
  }

  /** What an extended header says. */
  extended(text: string): void {
    try {
      this.#judge.extended(text);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.error ??= error;
    this.failed(this.error);
  }

  /** The archive ended in the middle: nobody will ever feed the entry under way. Settles when its file is closed. */
  async abandon(error: unknown): Promise<void> {
    this.error ??= error;
    this.#abandon(this.error);
    await this.#writing;
  }

  async finished(): Promise<void> {
    await this.#writing;
    if (this.error !== undefined) throw this.error;
    this.#judge.end();
  }

  async #write(entry: ReadEntry): Promise<void> {
    if (this.error !== undefined) throw this.error;
    const safe = this.#judge.entry(entry);
    if (safe?.kind === "file") {
      await this.#writeFile(safe, entry);
      return;
    }
    entry.resume();
    if (safe?.kind === "dir") await this.#makeParents(entry.path, join(this.#root, safe.path));
    else if (safe !== null) this.#links.push(safe);
  }

  async #writeFile(file: Extract<SafeEntry, { kind: "file" }>, entry: ReadEntry): Promise<void> {
    const path = join(this.#root, file.path);
    await this.#makeParents(entry.path, dirname(path));
    const hash = createHash("sha256");
    // Exclusive: an archive that names a file twice means to replace what was checked before.
    const handle = await open(path, "wx", file.mode).catch((error: NodeJS.ErrnoException) => {
      throw error.code === "EEXIST" ? unsafe(entry.path, "is there twice") : error;
    });
    try {
      await Promise.race([this.#abandoned, copyInto(entry, handle, hash)]);
      await handle.chmod(file.mode);
    } finally {
      await handle.close();
    }
    this.#files.push({ path: file.path, size: file.size, sha256: hash.digest("hex"), mode: file.mode });
  }

  async #makeParents(entry: string, dir: string): Promise<void> {
    const first = await mkdir(dir, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      throw error.code === "EEXIST" || error.code === "ENOTDIR" ? unsafe(entry, "lies below a file") : error;
    });
    // Everybody on a host starts programs from here, however careful the agent's own umask is.
    for (let at = dir; first !== undefined && at.length >= first.length; at = dirname(at)) await chmod(at, DIR_MODE);
  }

  async makeLinks(): Promise<ManifestFile[]> {
    for (const each of this.#links) {
      const path = join(this.#root, each.path);
      await this.#makeParents(each.path, dirname(path));
      try {
        if (each.kind === "symlink") await symlink(each.target, path);
        else await this.#hardlink(each.path, each.target);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") throw unsafe(each.path, "is there twice");
        throw error;
      }
    }
    const root = await realpath(this.#root);
    for (const each of this.#links) {
      if (each.kind === "hardlink") continue;
      const leads = await realpath(join(this.#root, each.path)).catch(() => null);
      if (leads === null) throw unsafe(each.path, `is a link that leads nowhere: ${each.target}`);
      if (leads !== root && !leads.startsWith(root + sep))
        throw unsafe(each.path, `is a link that leaves its folder: ${each.target}`);
      this.#files.push({ path: each.path, link: each.target });
    }
    return this.#files.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async #hardlink(path: string, target: string): Promise<void> {
    // Only to a file of this very archive: its bytes are known, and nothing outside can be reached.
    const original = this.#files.find((file) => file.path === target);
    if (original === undefined || "link" in original)
      throw unsafe(path, `is a hard link to ${target}, which is not there`);
    await link(join(this.#root, target), join(this.#root, path));
    this.#files.push({ ...original, path });
  }
}

async function copyInto(entry: ReadEntry, handle: FileHandle, hash: Hash): Promise<void> {
  const gathering = new Gathering(handle, hash, { bytes: entry.size, syncs: true });
  for await (const chunk of entry) await gathering.add(chunk);
  await gathering.flush();
}
