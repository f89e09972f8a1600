import { readFile, stat } from "node:fs/promises";
import { type AllowedSigner, BelayError, parseAllowedSigners } from "@belay/shared";

/**
 * Who may approve, as the file says now. Throws `signers-invalid` for one that can't be read, isn't wholly understood, or that
 * others than its owner may write: a host that doesn't know whom to believe believes nobody.
 */
export async function readSigners(file: string): Promise<AllowedSigner[]> {
  const { text, mode, uid } = await read(file);
  if ((mode & 0o022) !== 0 || (uid !== 0 && uid !== process.getuid?.())) {
    throw new BelayError("signers-invalid", `${file} can be changed by others than root`, {
      hint: `chown root ${file}; chmod 644 ${file}`,
      context: { file },
    });
  }
  return parseAllowedSigners(text, file);
}

async function read(file: string): Promise<{ text: string; mode: number; uid: number }> {
  try {
    const [text, { mode, uid }] = await Promise.all([readFile(file, "utf8"), stat(file)]);
    return { text, mode, uid };
  } catch (cause) {
    throw new BelayError("signers-invalid", (cause as Error).message, {
      hint: "put the approvers' public keys there: see `approve` in agent.yaml",
      context: { file },
      cause,
    });
  }
}
