import { readFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { newToken } from "./bearer-token.js";
import { writeSecretly } from "./durable.js";

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
  // Whole or not there: an empty one, left by a power cut, would keep belayd from starting.
  await writeSecretly(path, `${token}\n`);
  return token;
}
