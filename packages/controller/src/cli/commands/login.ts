import { unlink } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { Api } from "../api.js";
import { Client } from "../client.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { whoamiLines } from "../render/user.js";
import { replaceSecret } from "../secret-file.js";
import type { Session } from "../session.js";

export const login: CommandSpec = {
  name: "login",
  summary: "keep an API token for this machine's belay, after asking belayd whose it is",
  notes:
    "The token is asked for, or taken from --token-file, BELAY_TOKEN_FILE or BELAY_TOKEN. It is kept in\n" +
    "~/.config/belay/token, readable by you alone.",
  examples: ["belay login", "belay login --token-file ann.token"],
  async run(session) {
    const { server, token: named } = await session.wayIn();
    const token = named ?? (await askForToken(session));
    const me = await new Api(new Client({ server, token }, session.outside.fetch)).whoami();
    await replaceSecret(session.keptToken, token);
    session.answer(me, () => [...whoamiLines(me), `The token is kept in ${session.keptToken}.`]);
    return EXIT.ok;
  },
};

export const logout: CommandSpec = {
  name: "logout",
  summary: "forget the token that belay login keeps",
  notes: "The token itself stays good until it ends or is revoked (belay token revoke).",
  examples: ["belay logout"],
  async run(session) {
    const file = session.keptToken;
    const forgot = await unlink(file).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
        return false;
      },
    );
    session.answer({ forgot }, () => [forgot ? `${file} is gone` : `there was no ${file}`]);
    return EXIT.ok;
  },
};

async function askForToken({ outside }: Session): Promise<string> {
  const token = (await outside.ask("API token: ", new AbortController().signal))?.trim() ?? "";
  if (token !== "") return token;
  throw new BelayError("token-missing", "no API token was given", { hint: "belay login --token-file FILE" });
}
