import { BelayError } from "@belay/shared";
import { roomAt } from "../facts/disk.js";

export interface Needs {
  bytes: number;
  inodes: number;
}

/** Said before the copy is begun: what a copy program makes of a full disk in the middle names neither path nor amount. */
export async function needRoom(needs: Needs, at: string): Promise<void> {
  const { freeBytes, freeInodes } = await roomAt(at);
  if (freeBytes < needs.bytes) throw noRoom(at, "bytes", needs.bytes, freeBytes);
  if (freeInodes < needs.inodes) throw noRoom(at, "inodes", needs.inodes, freeInodes);
}

function noRoom(path: string, of: "bytes" | "inodes", needed: number, free: number): BelayError {
  return new BelayError("backup-no-room", `a backup takes up to ${needed} ${of} at ${path}: ${free} are free`, {
    hint: "make room on that disk, or point the variable `backups` elsewhere in fleet.yaml",
    context: { path, of, needed, free },
  });
}
