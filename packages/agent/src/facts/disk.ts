import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError, type ErrorInfo, errorInfo } from "@belay/shared";
import { isFull, orMissing } from "../durable.js";

export interface DiskRoom {
  path: string;
  freeBytes: number;
  freeInodes: number;
}

/** Room for an unprivileged writer where `path` is, or would be. */
export async function roomAt(path: string): Promise<DiskRoom> {
  const { bavail, bsize, files, ffree } = await ofNearest(path, (at) => statfs(at));
  // Some file systems (btrfs) have no fixed number of inodes and say 0 of 0: no limit.
  return { path, freeBytes: bavail * bsize, freeInodes: files === 0 ? Number.MAX_SAFE_INTEGER : ffree };
}

export interface Needs {
  bytes: number;
  inodes: number;
}

/** What there is too little of. */
export interface Shortage {
  of: "bytes" | "inodes";
  needed: number;
  free: number;
  room: DiskRoom;
}

/** Asked before anything is begun: a full disk in the middle names neither path nor amount. Null: there is room for it. */
export async function shortageAt(path: string, { bytes, inodes }: Needs): Promise<Shortage | null> {
  const room = await roomAt(path);
  const { freeBytes, freeInodes } = room;
  if (freeBytes < bytes) return { of: "bytes", needed: bytes, free: freeBytes, room };
  if (freeInodes < inodes) return { of: "inodes", needed: inodes, free: freeInodes, room };
  return null;
}

/** Throws `disk-full` where there is no room for `what`. */
export async function needRoom(path: string, need: Needs & { what: string }): Promise<void> {
  const shortage = await shortageAt(path, need);
  if (shortage === null) return;
  const { room } = shortage;
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

/** A failure as it is told. Of a full disk the system says neither how full it is nor, at times, which one. */
export async function failureOf(thrown: unknown): Promise<ErrorInfo> {
  const { path, dest = path } = thrown as NodeJS.ErrnoException & { dest?: string };
  if (!isFull(thrown) || dest === undefined) return errorInfo(thrown);
  return (await diskFull(dirname(dest), "writing there", thrown)).toJSON();
}

/** Names the file system that holds `path`, or would. */
export async function deviceOf(path: string): Promise<number> {
  return (await ofNearest(path, (at) => stat(at))).dev;
}

/** What `look` finds: a folder yet to be made lies on its nearest parent's disk. */
async function ofNearest<T>(path: string, look: (at: string) => Promise<T>): Promise<T> {
  for (let at = path; ; at = dirname(at)) {
    const found = await orMissing(look(at));
    if (found !== null) return found;
    if (at === "/") throw new Error("the root folder has no file system");
  }
}
