import { readFile, stat } from "node:fs/promises";
import { BelayError } from "@belay/shared";

/**
 * A file by which this host's owner says whom or what to trust. Throws `code` for one that can't be read, or that others than
 * root (or this agent's own user) may change: what anybody may write is nobody's word.
 */
export async function readOwned(file: string, code: string, hint: string): Promise<string> {
  let text: string;
  let mode: number;
  let uid: number;
  try {
    [text, { mode, uid }] = await Promise.all([readFile(file, "utf8"), stat(file)]);
  } catch (cause) {
    throw new BelayError(code, (cause as Error).message, { hint, context: { file }, cause });
  }
  if ((mode & 0o022) === 0 && (uid === 0 || uid === process.getuid?.())) return text;
  throw new BelayError(code, `${file} can be changed by others than root`, {
    hint: `chown root ${file}; chmod 644 ${file}`,
    context: { file },
  });
}
