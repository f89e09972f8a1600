import { stat } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { readConfigured } from "../config-text.js";
import type { Logger } from "../log.js";

/** The one token in a file. Says to `log` when everybody can read it. Throws `token-invalid` or `config-unreadable`. */
export async function readToken(file: string, log?: Logger): Promise<string> {
  const token = (await readConfigured(file)).trim();
  if (!/^[\x21-\x7e]{8,512}$/.test(token)) {
    throw new BelayError("token-invalid", `${file} does not hold one join token`, {
      hint: "put the token that belayd gave for this host into it, and nothing else",
      context: { file },
    });
  }
  const { mode } = await stat(file);
  if ((mode & 0o004) !== 0) log?.warn({ file }, "everybody on this host can read the token: chmod 600");
  return token;
}
