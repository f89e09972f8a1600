import { link as hardLink, lstat, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { orMissing, syncDir } from "../durable.js";
import type { Host } from "../host.js";
import { copyExactly } from "./attributes.js";

/** False: nothing has this name, or what isn't a file itself. */
export async function isPlainFile(name: string): Promise<boolean> {
  return (await orMissing(lstat(name)))?.isFile() ?? false;
}

/** Gives a file another name; where it can't have one, a copy with all that belongs to it. The name must be free. */
export async function sameOrCopied(
  from: string,
  to: string,
  host: Pick<Host, "exec">,
  signal: AbortSignal,
): Promise<void> {
  try {
    await hardLink(from, to);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    await copyExactly(from, to, host.exec, signal);
  }
}

/** Replaces a name by a plain file, by one rename. */
export async function putFile(
  file: string,
  name: string,
  host: Pick<Host, "exec">,
  signal: AbortSignal,
): Promise<void> {
  const temp = join(dirname(name), `.${basename(name)}.belay-new`);
  await rm(temp, { force: true });
  try {
    await sameOrCopied(file, temp, host, signal);
    await rename(temp, name);
  } catch (error) {
    await rm(temp, { force: true });
    throw error;
  }
  await syncDir(dirname(name));
}
