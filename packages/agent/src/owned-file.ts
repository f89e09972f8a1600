import { constants, type Stats } from "node:fs";
import { lstat, open, readlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BelayError } from "@belay/shared";

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
/** As many as Linux follows itself. */
const MAX_LINKS = 40;

/**
 * A file by which this host's owner says whom or what to trust. Throws `code` for one that can't be read, or that others than
 * root (or this agent's own user) may change, or put another in the place of: what anybody may write is nobody's word.
 */
export async function readOwned(file: string, code: string, hint: string): Promise<string> {
  let text: string;
  let stat: Stats;
  const real = await ownedPath(file, code, hint);
  try {
    const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      // Of the very file that is read, whatever its name leads to by now.
      [text, stat] = [await handle.readFile("utf8"), await handle.stat()];
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new BelayError(code, (cause as Error).message, { hint, context: { file }, cause });
  }
  if (isOwned(stat)) return text;
  throw notOwned(file, file, code);
}

/**
 * Where a path leads. Throws `code` if it leads nowhere, or anybody but root (or this agent's own user) may change the file, a
 * link on the way, or a folder that any of them is in. A folder for everybody will do if its own sticky bit holds them off.
 */
export async function ownedPath(path: string, code: string, hint = `look at ${path}`): Promise<string> {
  let links = 0;
  const walk = async (full: string): Promise<string> => {
    const stat = await statOf(full, code, hint);
    const parent = dirname(full);
    if (parent === full) {
      if (!isOwnedFolder(stat)) throw notOwned(path, full, code);
      return full;
    }
    const folder = await walk(parent);
    const name = join(folder, full.slice(parent === "/" ? 1 : parent.length + 1));
    if (stat.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) throw new BelayError(code, `${path} leads through more than ${MAX_LINKS} links`);
      if (!isOurs(stat)) throw notOwned(path, full, code);
      return walk(resolve(folder, await readlink(name)));
    }
    if (!(stat.isDirectory() ? isOwnedFolder(stat) : isOwned(stat))) throw notOwned(path, full, code);
    return name;
  };
  return walk(resolve(path));
}

async function statOf(path: string, code: string, hint: string): Promise<Stats> {
  try {
    return await lstat(path);
  } catch (cause) {
    throw new BelayError(code, (cause as Error).message, { hint, context: { file: path }, cause });
  }
}

function isOurs({ uid }: Stats): boolean {
  return uid === 0 || uid === process.getuid?.();
}

function isOwned(stat: Stats): boolean {
  return isOurs(stat) && (stat.mode & WRITABLE_BY_OTHERS) === 0;
}

function isOwnedFolder(stat: Stats): boolean {
  return isOwned(stat) || (isOurs(stat) && (stat.mode & STICKY) !== 0);
}

function notOwned(path: string, at: string, code: string): BelayError {
  const which = at === path ? path : `${path}, by way of ${at},`;
  return new BelayError(code, `${which} can be changed by others than root`, {
    hint: `chown root ${at}; chmod go-w ${at}`,
    context: { file: path, at },
  });
}
