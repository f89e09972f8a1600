import { BelayError } from "./error.js";

/** What a tar reader says of an entry. */
export interface ArchiveEntry {
  readonly path: string;
  readonly type: string;
  readonly mode?: number | undefined;
  readonly linkpath?: string | undefined;
  /** As the extended headers have it. */
  readonly size: number;
  /** What the reader really goes by. */
  readonly header: { readonly size?: number | undefined };
}

/** What an archive's entry asks for, once it is known to be harmless. Paths are relative to the folder it is unpacked to. */
export type SafeEntry =
  | { kind: "file"; path: string; mode: number; size: number }
  | { kind: "dir"; path: string }
  | { kind: "symlink"; path: string; target: string }
  | { kind: "hardlink"; path: string; target: string };

const SETUID_SETGID = 0o6000;
/** What Linux file systems take for one name; a release's own are a tenth of it. */
const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 1024;
const MAX_DEPTH = 32;

/**
 * Judges one entry by its header alone. Null: a folder that `strip` swallows. Throws `artifact-unsafe`, naming the entry,
 * for everything that could touch something outside the folder or gain rights.
 */
export function judgeEntry(entry: ArchiveEntry, strip: number): SafeEntry | null {
  const name = entry.path;
  const path = pathInside(name, name, strip);
  switch (entry.type) {
    case "Directory":
    case "GNUDumpDir":
      return path === "" ? null : { kind: "dir", path };
    case "File":
    case "OldFile":
    case "ContiguousFile": {
      if (path === "") throw unsafe(name, `lies outside the ${strip} leading folders that are dropped`);
      // Two readers that disagree on it see two different archives.
      const { size } = entry.header;
      if (size === undefined) throw unsafe(name, "has a size that is no number");
      if (size !== entry.size) throw unsafe(name, `has two sizes, ${size} and ${entry.size}`);
      const mode = entry.mode ?? 0o644;
      if ((mode & SETUID_SETGID) !== 0) throw unsafe(name, "is setuid or setgid");
      // Owner always reads and writes, nobody else ever writes: whatever the archive's maker had as umask.
      return { kind: "file", path, mode: (mode & 0o755) | 0o600, size };
    }
    case "SymbolicLink": {
      const target = entry.linkpath ?? "";
      if (path === "" || target === "" || target.startsWith("/") || isOdd(target)) {
        throw unsafe(name, `is a link to ${shown(target)}`);
      }
      return { kind: "symlink", path, target };
    }
    case "Link": {
      const target = pathInside(entry.linkpath ?? "", name, strip);
      if (path === "" || target === "") throw unsafe(name, "is a hard link to nothing");
      return { kind: "hardlink", path, target };
    }
    default:
      throw unsafe(name, `is a ${entry.type}`);
  }
}

/** The folders at the front of an entry's path that `strip` drops. */
export function strippedFrom(path: string, strip: number): string {
  return partsOf(path).slice(0, strip).join("/");
}

export function unsafe(entry: string, what: string): BelayError {
  return new BelayError("artifact-unsafe", `artifact entry ${shown(entry)} ${what}`, {
    hint: "nothing was unpacked. Don't use this artifact; ask where it came from",
    context: { entry: entry.slice(0, 256) },
  });
}

export function unreadable(why: string, cause?: unknown): BelayError {
  return new BelayError("artifact-unreadable", `the artifact can't be unpacked: ${why}`, {
    hint: "if it has the digest that was planned, it was packed wrongly: make and add it again",
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A name from an archive on somebody's terminal: in quotes, and nothing in it that a terminal would obey. */
export function shown(name: string): string {
  const harmless = /[\p{C}\u2028\u2029]/gu;
  return JSON.stringify(name.slice(0, 256)).replace(
    harmless,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function pathInside(path: string, entry: string, strip: number): string {
  if (path.startsWith("/") || path.includes("\0") || path.includes("\\"))
    throw unsafe(entry, "has an absolute or odd path");
  if (path.includes("\ufffd")) throw unsafe(entry, "has a name that is not UTF-8");
  if (isOdd(path)) throw unsafe(entry, "has control characters in its name");
  const parts = partsOf(path);
  if (parts.includes("..")) throw unsafe(entry, "leaves its folder");
  if (parts.length > MAX_DEPTH) throw unsafe(entry, `lies too deep: ${parts.length} folders`);
  const bytes = Math.max(...parts.map((part) => Buffer.byteLength(part)), 0);
  if (bytes > MAX_NAME_BYTES || Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw unsafe(entry, `has too long a name: ${Buffer.byteLength(path)} bytes`);
  }
  return parts.slice(strip).join("/");
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Control and format characters: what moves a cursor, turns a line around, or can't be seen. */
function isOdd(name: string): boolean {
  return /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(name);
}
