import { rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Entry } from "@belay/shared";
import { present, syncDir } from "../durable.js";
import type { Host } from "../host.js";
import { isPlainFile, sameOrCopied } from "./same-file.js";

/** Beside its name, because a link can be made there wherever the versions lie, and a rename from there takes neither time nor room. */
const originalOf = (name: string) => join(dirname(name), `.${basename(name)}.belay-was`);

/**
 * Keeps the plain file that is about to give its name to a link, as long as the swap may be undone. Idempotent; half of one that an
 * earlier life left is made anew.
 */
export async function keepOriginal(name: string, host: Pick<Host, "exec">, signal: AbortSignal): Promise<void> {
  const original = originalOf(name);
  await rm(original, { force: true });
  await sameOrCopied(name, original, host, signal);
  await syncDir(dirname(name));
}

/** The very file is back under its name, by one rename. False: nothing was kept, and the name is as it was found. Idempotent. */
export async function putOriginalBack(name: string): Promise<boolean> {
  const original = originalOf(name);
  if (!(await present(original))) return false;
  // Kept, and not replaced yet. A rename between two names of one file would leave both.
  if (await isPlainFile(name)) await rm(original);
  else await rename(original, name);
  await syncDir(dirname(name));
  return true;
}

/** Nobody goes back any more. Idempotent. */
export async function clearOriginals({ dir, programs }: Entry): Promise<void> {
  for (const program of programs) {
    const original = originalOf(join(dir, program));
    if (!(await present(original))) continue;
    await rm(original);
    await syncDir(dir);
  }
}
