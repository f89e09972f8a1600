import { createHash, type Hash } from "node:crypto";
import { chmod, lstat, mkdir, open, readdir, readlink, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Makes a folder's own entries (names, renames, removals) survive a power cut. */
export function syncDir(dir: string): Promise<void> {
  return sync(dir);
}

/** Makes one file's content survive a power cut. */
export function syncFile(path: string): Promise<void> {
  return sync(path);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates a folder and its parents, each durably and with this mode whatever the umask. Idempotent. */
export async function makeDir(dir: string, mode = 0o755): Promise<void> {
  const first = await mkdir(dir, { recursive: true, mode });
  if (first === undefined) return;
  for (let at = dir; at.length >= first.length; at = dirname(at)) {
    await chmod(at, mode);
    await syncDir(dirname(at));
  }
}

/** Replaces a file as one step: readers, and a power cut, see the old content or the new, never a part. */
export async function writeDurably(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
  const temp = join(dirname(path), `.${basename(path)}.belay-new`);
  const handle = await open(temp, "w", mode);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } catch (error) {
    await rm(temp, { force: true });
    throw ofFile(path, error);
  } finally {
    await handle.close();
  }
  await rename(temp, path);
  await syncDir(dirname(path));
}

/** What goes wrong with an open file doesn't say which one that was. */
export function ofFile(path: string, error: unknown): unknown {
  if (error instanceof Error && !("path" in error)) Object.assign(error, { path });
  return error;
}

const wayBackOf = (link: string) => join(dirname(link), `.${basename(link)}.belay-back`);

/**
 * Lays a link to `target` beside `link` while there is room for one: `switchLink` goes there by a rename, which takes none. Idempotent.
 * Whoever switches a link, and may have to go back on a disk that has filled up meanwhile, calls this first.
 */
export async function layWayBack(link: string, target: string): Promise<void> {
  const wayBack = wayBackOf(link);
  if ((await whereTo(wayBack)) !== target) {
    await rm(wayBack, { force: true });
    await symlink(target, wayBack);
  }
  await syncDir(dirname(link));
}

/** Nobody goes back any more. Idempotent. */
export async function clearWayBack(link: string): Promise<void> {
  await rm(wayBackOf(link), { force: true });
  await syncDir(dirname(link));
}

/**
 * Points a symbolic link somewhere else as one step: there is no moment without it. Idempotent; a link that leads there already, or one
 * whose way back does, takes no room, so that a disk that has none can be left as it was found.
 */
export async function switchLink(link: string, target: string): Promise<void> {
  const temp = join(dirname(link), `.${basename(link)}.belay-new`);
  await rm(temp, { force: true });
  if ((await whereTo(link)) !== target) {
    const wayBack = wayBackOf(link);
    const isLaid = (await whereTo(wayBack)) === target;
    if (!isLaid) await symlink(target, temp);
    await rename(isLaid ? wayBack : temp, link);
  }
  await syncDir(dirname(link));
}

/** Null: no link, or one that can't be looked at: what is wrong with it shows when it is replaced. */
function whereTo(link: string): Promise<string | null> {
  return readlink(link).catch(() => null);
}

/** Fsyncs every folder and regular file below `dir`, `dir` included. */
export async function syncTree(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await syncFile(path);
  }
  await syncDir(dir);
}

/** True if anything, even a dangling link, has this name. */
export async function present(path: string): Promise<boolean> {
  return (await orMissing(lstat(path))) !== null;
}

/** What the promise gives, or null if the path it asks about isn't there. Other errors pass through. */
export async function orMissing<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  }
}

/** True for an error that says the disk, or this user's share of it, is full. */
export function isFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOSPC" || code === "EDQUOT";
}

const READ_BYTES = 256 * 1024;

/**
 * A file's content in pieces, each of them there until the next is asked for: one buffer, used again and again. A new one for each
 * would be tens of megabytes until they are collected.
 */
export async function* readPieces(path: string): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  const handle = await open(path, "r");
  try {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

/** Feeds a whole file into a hash and returns how many bytes that were. */
export async function hashInto(hash: Hash, path: string, signal?: AbortSignal): Promise<number> {
  let bytes = 0;
  for await (const piece of readPieces(path)) {
    signal?.throwIfAborted();
    hash.update(piece);
    bytes += piece.length;
  }
  return bytes;
}

/** SHA-256 in hex of a file's content. */
export async function digestOfFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await hashInto(hash, path, signal);
  return hash.digest("hex");
}
