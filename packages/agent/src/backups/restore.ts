import { chmod, chown, copyFile, lstat, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { BackupResult } from "@belay/shared";
import { isFull, makeDir, orMissing, syncDir, syncFile } from "../durable.js";
import { takeOver } from "../entry/attributes.js";
import { deviceOf, diskFull, needRoom } from "../facts/disk.js";
import type { Host } from "../host.js";
import { openBackend } from "./backends/backend.js";
import { runWithPath } from "./command.js";
import type { BackupRecord, KeptFile, ReadBackup } from "./manifest.js";
import { verifyBackup } from "./verify.js";

/** Disks give room away in pieces of this. */
const BLOCK_BYTES = 4096;
/** A file, and a folder that may have gone with it. */
const INODES_EACH = 2;

/** Throws unless this host allows every path and command that a restore would touch. */
export async function allowRestore(backup: ReadBackup, host: Host): Promise<void> {
  await host.allowed.path(backup.dir);
  for (const item of backup.manifest.items) {
    if (item.kind === "command") host.allowed.command(item.restore);
    else if (item.kind === "backend") host.allowed.backend(item.backend);
    else {
      await host.allowed.path(item.path);
      if (item.kind !== "absent") await host.allowed.restored(item.path, item.mode);
    }
  }
}

/** Throws `disk-full` where the files of a backup have no room beside those in whose place they come. */
export async function needRoomToRestore(backup: ReadBackup): Promise<void> {
  const what = `putting backup ${backup.manifest.id} back`;
  const needs = new Map<number, { dir: string; bytes: number; inodes: number }>();
  for (const { item, path, temp } of await filesOf(backup)) {
    const device = await deviceOf(dirname(path));
    const { dir, bytes, inodes } = needs.get(device) ?? { dir: dirname(path), bytes: 0, inodes: 0 };
    const rounded = Math.ceil(item.size / BLOCK_BYTES) * BLOCK_BYTES;
    // What a life that was cut off has laid there already is written over.
    const laid = (await orMissing(lstat(temp)))?.size ?? 0;
    needs.set(device, { dir, bytes: bytes + Math.max(0, rounded - laid), inodes: inodes + INODES_EACH });
  }
  for (const { dir, ...need } of needs.values()) await needRoom(dir, { ...need, what });
}

/**
 * Puts a backup back in place, after reading all of it (I4): a bad one touches nothing. Every file is laid beside its place before the
 * first of them takes it, so that a disk that fills up on the way leaves all of them as they were; throws `disk-full` then. Idempotent,
 * so that an interrupted restore is simply repeated. The service must be stopped; that is the caller's to see to.
 */
export async function restoreBackup(backup: ReadBackup, host: Host, signal: AbortSignal): Promise<BackupResult> {
  await allowRestore(backup, host);
  const result = await verifyBackup(backup, host, signal);
  const files = await filesOf(backup);
  try {
    await layBeside(files, backup, host, signal);
    // These may fail half-way, too, and a rename hardly does: so they come before it.
    for (const item of backup.manifest.items) await putBackByPrograms(item, backup, host, signal);
    for (const file of files) await putInPlace(file);
  } finally {
    await clearAway(files);
  }
  return result;
}

/** A kept file on its way back. */
interface Returning {
  readonly item: KeptFile;
  readonly from: string;
  readonly path: string;
  /** Beside its place until it takes it. */
  readonly temp: string;
}

async function filesOf({ dir, manifest }: ReadBackup): Promise<Returning[]> {
  const files = manifest.items.filter((item): item is KeptFile => item.kind === "file" || item.kind === "sqlite");
  return Promise.all(
    files.map(async (item) => {
      // Through a link to what it leads to, as it was taken.
      const path = (await orMissing(realpath(item.path))) ?? item.path;
      const temp = join(dirname(path), `.${basename(path)}.belay-restore`);
      return { item, from: join(dir, item.file), path, temp };
    }),
  );
}

async function layBeside(
  files: readonly Returning[],
  backup: ReadBackup,
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  for (const file of files) {
    try {
      await lay(file, host, signal);
    } catch (error) {
      if (!isFull(error)) throw error;
      // Without what was laid already the message says how much there is, and how much it takes.
      await clearAway(files);
      await needRoomToRestore(backup);
      throw await diskFull(dirname(file.path), `putting backup ${backup.manifest.id} back`, error);
    }
  }
}

/** A backup keeps owner and mode; what else belongs to the file is taken from the one that is there, if one is. */
async function lay({ item, from, path, temp }: Returning, { exec }: Host, signal: AbortSignal): Promise<void> {
  await makeDir(dirname(path));
  await copyFile(from, temp);
  // Not of a link that leads nowhere, or of what isn't a file.
  if ((await orMissing(stat(path)))?.isFile() === true) await takeOver(path, temp, exec, signal);
  const { uid, gid } = await lstat(temp);
  // Whoever is given a file that is his already takes its capabilities away.
  if (uid !== item.uid || gid !== item.gid) await chown(temp, item.uid, item.gid);
  await chmod(temp, item.mode);
  await syncFile(temp);
}

async function clearAway(files: readonly Returning[]): Promise<void> {
  for (const { temp } of files) await rm(temp, { force: true });
}

async function putBackByPrograms(
  item: BackupRecord,
  { dir, manifest }: ReadBackup,
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  if (item.kind === "command") {
    const argv = host.allowed.command(item.restore);
    await runWithPath(argv, join(dir, item.file), item.restore, host, signal);
  } else if (item.kind === "backend") {
    const saved = { ...item, takenAt: manifest.takenAt };
    await openBackend(item.backend, host).restore(join(dir, item.file), saved, signal);
  }
}

async function putInPlace({ item, path, temp }: Returning): Promise<void> {
  if (item.kind === "sqlite") {
    // The log of the newer database would be replayed into the older one: remove it first, and durably.
    await rm(`${path}-wal`, { force: true });
    await rm(`${path}-shm`, { force: true });
    await rm(`${path}-journal`, { force: true });
    await syncDir(dirname(path));
  }
  await rename(temp, path);
  await syncDir(dirname(path));
}
