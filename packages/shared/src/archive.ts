import {
  type ArchiveEntry,
  judgeEntry,
  type SafeEntry,
  shown,
  strippedFrom,
  unreadable,
  unsafe,
} from "./archive-entry.js";
import { BelayError } from "./error.js";

/** Far above any release (Teleport has about 40), far below what would hurt a disk or the process that unpacks it. */
const MAX_ENTRIES = 50_000;
/** Headers and what fills their blocks up, for as many entries as there may be. */
const OVERHEAD_BYTES = MAX_ENTRIES * 2048;
const MAX_LINK_HOPS = 40;

/** Extended headers that give rights, or make a file of something else than the bytes that follow. */
const UNSAFE_KEY =
  /^(?:GNU\.sparse\.|SCHILY\.acl\.|RHT\.security\.|(?:SCHILY|LIBARCHIVE)\.xattr\.(?!user\.)|type$|mode$)/;

export interface ArchiveLimits {
  /** Leading path components to drop. All entries must have the same ones. */
  strip: number;
  maxUnpackedBytes: number;
  /** A name at the top that is not the archive's to give. */
  reserved: string;
}

/**
 * Holds a release's archive to what may be unpacked, entry by entry, without touching a disk: an agent asks before it writes
 * anything, and belayd before it takes a release in, so that no agent is ever sent what it would refuse. Throws
 * `artifact-unsafe`, `artifact-too-large` or `artifact-unreadable`, naming what was found.
 */
export class ArchiveJudge {
  readonly #limits: ArchiveLimits;
  readonly #kinds = new Map<string, "dir" | "file" | "link">();
  /** By what is left of a path when case and spelling don't count. */
  readonly #alike = new Map<string, string>();
  readonly #links = new Map<string, { target: string; name: string }>();
  #stripped: string | null = null;
  #entries = 0;
  #bytes = 0;

  constructor(limits: ArchiveLimits) {
    this.#limits = limits;
  }

  /** How long the archive's stream may be, unzipped. */
  get maxStreamBytes(): number {
    return this.#limits.maxUnpackedBytes + OVERHEAD_BYTES;
  }

  /** The text of an extended header, or of a name that GNU has put before an entry. */
  extended(text: string): void {
    if (text.replace(/\0+$/, "").includes("\0")) throw unsafe(text, "is an extended header with a NUL in it");
    for (const [, key = ""] of text.matchAll(/^\d+ ([^=\n]+)=/gm)) {
      if (UNSAFE_KEY.test(key)) throw unsafe(key, "stands in an extended header: a release has no use for it");
    }
  }

  /** The next entry. Null: there is nothing to do for it. */
  entry(entry: ArchiveEntry): SafeEntry | null {
    this.#count(entry.path);
    this.#bytes += entry.size;
    if (!(this.#bytes <= this.#limits.maxUnpackedBytes)) throw this.tooLarge();
    const safe = judgeEntry(entry, this.#limits.strip);
    this.#sameFolder(entry.path, safe !== null);
    if (safe === null) return null;
    if (safe.path.split("/")[0] === this.#limits.reserved) throw unsafe(entry.path, "takes the name of the manifest");
    if (safe.kind === "hardlink" && this.#kinds.get(safe.target) !== "file") {
      throw unsafe(entry.path, `is a hard link to ${shown(safe.target)}, which is not there`);
    }
    this.#place(entry.path, safe);
    if (safe.kind === "symlink") this.#links.set(safe.path, { target: safe.target, name: entry.path });
    return safe;
  }

  /** After the last entry: every link must lead to something inside, followed as the system follows it. */
  end(): void {
    if (![...this.#kinds.values()].includes("file")) throw unreadable("there is no file in it");
    for (const [path, { target, name }] of this.#links) {
      const leads = this.#follow(path, target);
      if (leads === "outside") throw unsafe(name, `is a link that leaves its folder: ${shown(target)}`);
      if (leads === "nowhere") throw unsafe(name, `is a link that leads nowhere: ${shown(target)}`);
    }
  }

  tooLarge(): BelayError {
    const { maxUnpackedBytes } = this.#limits;
    return tooLarge(`the artifact unpacks to more than ${maxUnpackedBytes} bytes`, { maxUnpackedBytes });
  }

  #count(name: string): void {
    this.#entries += 1;
    if (this.#entries <= MAX_ENTRIES) return;
    throw tooLarge(`the artifact holds more than ${MAX_ENTRIES} files and folders, the last of them ${shown(name)}`, {
      maxEntries: MAX_ENTRIES,
    });
  }

  /** What is dropped from the front must be one folder: else files of several would be mixed into one. */
  #sameFolder(name: string, inside: boolean): void {
    if (!inside) return;
    const stripped = strippedFrom(name, this.#limits.strip);
    this.#stripped ??= stripped;
    if (stripped !== this.#stripped) throw unsafe(name, `does not lie in ${shown(this.#stripped)}, as the others do`);
  }

  #place(name: string, { path, kind }: SafeEntry): void {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join("/");
      const what = this.#kinds.get(above);
      if (what === "file") throw unsafe(name, "lies below a file");
      if (what === "link") throw unsafe(name, "lies below a link");
      if (what !== undefined) continue;
      this.#count(name);
      this.#note(above, "dir");
    }
    const there = this.#kinds.get(path);
    if (there === "dir" && kind === "dir") return;
    if (there !== undefined) throw unsafe(name, "is there twice");
    this.#note(path, kind === "dir" ? "dir" : kind === "symlink" ? "link" : "file");
  }

  #note(path: string, kind: "dir" | "file" | "link"): void {
    const alike = path.normalize("NFKC").toLowerCase();
    const twin = this.#alike.get(alike);
    if (twin !== undefined) throw unsafe(path, `differs from ${shown(twin)} in case or spelling alone`);
    this.#alike.set(alike, path);
    this.#kinds.set(path, kind);
  }

  #follow(path: string, target: string): "inside" | "outside" | "nowhere" {
    let at = path.split("/").slice(0, -1);
    const ahead = target.split("/").reverse();
    for (let hops = 0; ahead.length > 0; ) {
      const part = ahead.pop();
      if (part === undefined || part === "" || part === ".") continue;
      if (part === "..") {
        if (at.length === 0) return "outside";
        at = at.slice(0, -1);
        continue;
      }
      const next = [...at, part];
      const further = this.#links.get(next.join("/"));
      if (further !== undefined) {
        hops += 1;
        if (hops > MAX_LINK_HOPS) return "nowhere";
        ahead.push(...further.target.split("/").reverse());
        continue;
      }
      if (!this.#kinds.has(next.join("/"))) return "nowhere";
      at = next;
    }
    return "inside";
  }
}

function tooLarge(message: string, context: Record<string, unknown>): BelayError {
  return new BelayError("artifact-too-large", message, {
    hint: "nothing was unpacked. If this is right, raise the limit in the product profile",
    context,
  });
}
