import { unlink } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { Api } from "../api.js";
import { Client } from "../client.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { safeLine } from "../render/text.js";
import { whoamiLines } from "../render/user.js";
import { replaceSecret } from "../secret-file.js";
import type { Session } from "../session.js";
import { keptText } from "../settings.js";

/** How often to ask whether the person has decided. */
const POLL_EVERY_MS = 2_000;

export const login: CommandSpec<{ readonly oidc?: true }> = {
  name: "login",
  summary: "sign in: keep an API token for this machine's belay, after asking belayd whose it is",
  options: [{ flags: "--oidc", about: "through the identity provider: type a code in any browser" }],
  notes:
    "Without --oidc the token is asked for, or taken from --token-file, BELAY_TOKEN_FILE or BELAY_TOKEN. It is kept in\n" +
    "~/.config/belay/token, readable by you alone, and shown to no other server than this one. One that came by --oidc lives as long as a sign-in does there (12 hours,\n" +
    "unless belayd.yaml says otherwise).",
  examples: ["belay login", "belay login --token-file ann.token", "belay login --oidc"],
  async run(session, { oidc }) {
    const { server, token: named } = await session.wayIn();
    const token = oidc ? await signIn(session, server) : (named ?? (await askForToken(session)));
    const me = await new Api(new Client({ server, token }, session.outside.fetch)).whoami();
    await replaceSecret(session.keptToken, keptText(token, server));
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

/** Shows where to type which code, and waits until somebody has. Throws `sign-in-refused` and `sign-in-late`. */
async function signIn(session: Session, server: string): Promise<string> {
  const { outside } = session;
  const api = new Api(new Client({ server, token: null }, outside.fetch));
  const { id, code, url, urlWithCode, expiresAt } = await api.beginLogin();
  // On stderr also with --json: without a person who reads this, nothing goes on.
  outside.err.write(`${safeLine(`Open ${url} and type ${code}`)}\n`);
  if (urlWithCode !== null) outside.err.write(`${safeLine(`or open ${urlWithCode}`)}\n`);
  const stop = new AbortController();
  const release = outside.onInterrupt(() => stop.abort());
  try {
    while (outside.now() < expiresAt && !stop.signal.aborted) {
      const token = await poll(api, id);
      if (token !== null) return token;
      await outside.sleep(POLL_EVERY_MS, stop.signal);
    }
  } finally {
    release();
  }
  throw new BelayError("sign-in-late", "nobody typed the code in time", { hint: "belay login --oidc begins anew." });
}

/** Null: not yet. A door that is busy with others of this address is no answer. */
async function poll(api: Api, id: string): Promise<string | null> {
  try {
    return (await api.pollLogin(id)).token;
  } catch (error) {
    if (error instanceof BelayError && error.code === "too-many-requests") return null;
    throw error;
  }
}

async function askForToken({ outside }: Session): Promise<string> {
  const token = (await outside.ask("API token: ", new AbortController().signal))?.trim() ?? "";
  if (token !== "") return token;
  throw new BelayError("token-missing", "no API token was given", { hint: "belay login --token-file FILE" });
}
