import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { BelayError } from "@belay/shared";
import { orMissing } from "../durable.js";

/** The moments at which a host's owner may have something done. */
export const HOOKS = [
  "pre-backup",
  "post-backup",
  "pre-drain",
  "drain",
  "undrain",
  "post-health",
  "post-revert",
] as const;
export type HookName = (typeof HOOKS)[number];

const ANY_EXECUTES = 0o111;
const OTHERS_WRITE = 0o022;

/** Whether this host has any hook. Throws `hook-refused` for one that could not be run: asked before anything is touched. */
export async function needHooks({ hooksDir }: { readonly hooksDir: string }): Promise<boolean> {
  let any = false;
  for (const name of HOOKS) any = (await executablesOf(hooksDir, name)).length > 0 || any;
  return any;
}

/**
 * The executables of one hook: the file of that name, then those in the folder `<name>.d` in the order of their names.
 * Throws `hook-refused` for one that anybody but root and the agent's own user could have written, or that can't be
 * executed: a hook that is silently left out is worse than none.
 */
export async function executablesOf(hooksDir: string, name: HookName): Promise<string[]> {
  if ((await orMissing(stat(hooksDir))) === null) return [];
  await trust(hooksDir);
  const found: string[] = [];
  const single = join(hooksDir, name);
  if ((await orMissing(stat(single))) !== null) found.push(single);
  const folder = join(hooksDir, `${name}.d`);
  const names = await orMissing(readdir(folder));
  if (names !== null) await trust(folder);
  for (const each of names?.sort() ?? []) if (!each.startsWith(".")) found.push(join(folder, each));
  for (const file of found) {
    await trust(file);
    const { mode } = await stat(file);
    if ((mode & ANY_EXECUTES) === 0) throw refused(file, "can't be executed", `chmod 755 ${file}, or take it away`);
  }
  return found;
}

async function trust(path: string): Promise<void> {
  const { uid, mode } = await stat(path);
  if (uid !== 0 && uid !== process.getuid?.()) throw refused(path, `belongs to user ${uid}`, `chown root ${path}`);
  if ((mode & OTHERS_WRITE) !== 0) throw refused(path, "can be written by others", `chmod go-w ${path}`);
}

function refused(path: string, what: string, hint: string): BelayError {
  return new BelayError("hook-refused", `hook ${path} ${what}`, { hint, context: { path } });
}
