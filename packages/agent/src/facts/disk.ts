import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import { orMissing } from "../durable.js";

export interface DiskRoom {
  path: string;
  freeBytes: number;
  freeInodes: number;
}

/** Room for an unprivileged writer where `path` is, or would be: a folder yet to be made lies on its nearest parent's disk. */
export async function roomAt(path: string): Promise<DiskRoom> {
  for (let at = path; ; at = dirname(at)) {
    const stat = await orMissing(statfs(at));
    if (stat !== null) {
      // Some file systems (btrfs) have no fixed number of inodes and say 0 of 0: no limit.
      const freeInodes = stat.files === 0 ? Number.MAX_SAFE_INTEGER : stat.ffree;
      return { path, freeBytes: stat.bavail * stat.bsize, freeInodes };
    }
    if (at === "/") throw new Error("the root folder has no file system");
  }
}

/**
 * Says what is missing before anything is begun: a full disk in the middle names neither path nor amount. Throws
 * `disk-full`.
 */
export async function needRoom(path: string, need: { bytes: number; inodes: number; what: string }): Promise<void> {
  const room = await roomAt(path);
  if (room.freeBytes >= need.bytes && room.freeInodes >= need.inodes) return;
  throw new BelayError(
    "disk-full",
    `${path} has ${room.freeBytes} bytes and ${room.freeInodes} inodes free; ${need.what} needs ${need.bytes} and ${need.inodes}`,
    { hint: "free some space, or prune old versions and backups", context: { need, room } },
  );
}

/** What a write that ran into a full disk could not say: where, and how much was left. Asked before anything is cleaned up. */
export async function diskFull(path: string, what: string, cause: unknown): Promise<BelayError> {
  const room = await roomAt(path);
  return new BelayError(
    "disk-full",
    `no space left at ${path} while ${what}: ${room.freeBytes} bytes and ${room.freeInodes} inodes are free`,
    { hint: "free some space, or prune old versions and backups", context: { room }, cause },
  );
}

/** Names the file system that holds `path`, or would. */
export async function deviceOf(path: string): Promise<number> {
  for (let at = path; ; at = dirname(at)) {
    const found = await orMissing(stat(at));
    if (found !== null) return found.dev;
    if (at === "/") throw new Error("the root folder has no file system");
  }
}
