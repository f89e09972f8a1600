import { open, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Makes a file's bytes, or the names that a folder holds, survive a power cut. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives a file that was written under another name of the same folder its own: a power cut leaves all of it there, or none. */
export async function putInPlace(partial: string, path: string): Promise<void> {
  await syncPath(partial);
  await rename(partial, path);
  await syncPath(dirname(path));
}

/** Replaces a file as one step, readable by its owner alone: a power cut leaves the old content or the new, never a part. */
export async function writeSecretly(path: string, content: string): Promise<void> {
  const temp = join(dirname(path), `.${basename(path)}.new`);
  const handle = await open(temp, "w", 0o600);
  try {
    // A leftover of a crash keeps the mode it had.
    await handle.chmod(0o600);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temp, path);
  await syncPath(dirname(path));
}
