import { posix } from "node:path";
import { BelayError } from "@belay/shared";
import type { ReadEntry } from "tar";
import { MANIFEST_NAME } from "./manifest.js";

/** What an archive's entry asks for, once it is known to be harmless. Paths are relative to the version's folder. */
export type SafeEntry =
  | { kind: "file"; path: string; mode: number; size: number }
  | { kind: "dir"; path: string }
  | { kind: "symlink"; path: string; target: string }
  | { kind: "hardlink"; path: string; target: string };

const SETUID_SETGID = 0o6000;

/**
 * Judges one entry by its header alone. Null: a folder that `strip` swallows. Throws `artifact-unsafe`, naming the entry,
 * for everything that could touch something outside the folder or gain rights.
 */
export function judgeEntry(entry: ReadEntry, strip: number): SafeEntry | null {
  const name = entry.path;
  const path = relativeInside(name, name, strip);
  switch (entry.type) {
    case "Directory":
    case "GNUDumpDir":
      return path === "" ? null : { kind: "dir", path };
    case "File":
    case "OldFile":
    case "ContiguousFile": {
      if (path === "") throw unsafe(name, `lies outside the ${strip} leading folders that are dropped`);
      const mode = entry.mode ?? 0o644;
      if ((mode & SETUID_SETGID) !== 0) throw unsafe(name, "is setuid or setgid");
      // Owner always reads and writes, nobody else ever writes: whatever the archive's maker had as umask.
      return { kind: "file", path, mode: (mode & 0o755) | 0o600, size: entry.size };
    }
    case "SymbolicLink": {
      const target = entry.linkpath ?? "";
      if (path === "" || target === "" || target.startsWith("/") || target.includes("\0")) {
        throw unsafe(name, `is a link to ${JSON.stringify(target)}`);
      }
      const leads = posix.join(posix.dirname(path), target);
      if (leads === ".." || leads.startsWith("../")) throw unsafe(name, `is a link that leaves its folder: ${target}`);
      return { kind: "symlink", path, target };
    }
    case "Link": {
      const target = relativeInside(entry.linkpath ?? "", name, strip);
      if (path === "" || target === "") throw unsafe(name, "is a hard link to nothing");
      return { kind: "hardlink", path, target };
    }
    default:
      throw unsafe(name, `is a ${entry.type}`);
  }
}

export function unsafe(entry: string, what: string): BelayError {
  return new BelayError("artifact-unsafe", `artifact entry ${JSON.stringify(entry.slice(0, 256))} ${what}`, {
    hint: "nothing was unpacked. Don't use this artifact; ask where it came from",
    context: { entry: entry.slice(0, 256) },
  });
}

function relativeInside(path: string, entry: string, strip: number): string {
  if (path.startsWith("/") || path.includes("\0") || path.includes("\\"))
    throw unsafe(entry, "has an absolute or odd path");
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw unsafe(entry, "leaves its folder");
  const kept = parts.slice(strip);
  if (kept[0] === MANIFEST_NAME) throw unsafe(entry, "takes the name of the manifest");
  return kept.join("/");
}
