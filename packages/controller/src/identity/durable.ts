import { open, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

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
  await syncDir(dirname(path));
}

/** Makes a folder's own entries survive a power cut. */
export async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
