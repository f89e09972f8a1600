import { chmod, readFile, writeFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { newToken } from "./bearer-token.js";

/** Reads the API token; makes one at the first start. Throws `token-short`. */
export async function readApiToken(path: string): Promise<string> {
  try {
    const token = (await readFile(path, "utf8")).trim();
    if (token.length < 16) {
      throw new BelayError("token-short", `${path}: an API token has 16 characters or more`, {
        hint: "Remove the file: belayd makes a new one at its next start.",
      });
    }
    return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const token = newToken();
  await writeFile(path, `${token}\n`, { flag: "wx", mode: 0o600 });
  await chmod(path, 0o600);
  return token;
}
