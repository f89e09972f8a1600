import { mkdir, open, rename, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";

/**
 * Makes a secret and writes it to a new file that its owner alone can read. First the file: a secret that can't be kept
 * would have been made for nothing. Throws `file-not-writable`, and what `make` throws; then the file is gone again.
 */
export async function keepInNewFile<T extends { readonly token: string }>(
  path: string,
  make: () => Promise<T>,
): Promise<T> {
  const file = await open(path, "wx", 0o600).catch((cause: unknown) => {
    throw new BelayError("file-not-writable", `cannot make ${path}: ${(cause as Error).message}`, {
      hint: "It must not exist yet, in a folder you may write to.",
      cause,
    });
  });
  try {
    const made = await make();
    await file.writeFile(`${made.token}\n`);
    return made;
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await file.close();
  }
}

/** Replaces what a file holds, whole or not at all, readable by its owner alone. */
export async function replaceSecret(path: string, secret: string): Promise<void> {
  const next = `${path}.new`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // A file that is left from before may have another mode, which writing to it would keep.
  await unlink(next).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await writeFile(next, `${secret}\n`, { flag: "wx", mode: 0o600 });
  await rename(next, path);
}
