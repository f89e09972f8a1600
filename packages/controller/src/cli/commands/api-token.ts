import { BelayError } from "@belay/shared";
import type { TokenRequest } from "../../api/contract.js";
import { parseDuration } from "../../inventory/duration.js";
import type { Role } from "../../people/roles.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { tokenListing } from "../render/user.js";
import { keepInNewFile } from "../secret-file.js";

interface CreateOptions {
  readonly user?: string;
  readonly role?: readonly Role[];
  readonly ttl?: string;
  readonly out?: string;
}

interface ListOptions {
  readonly user?: string;
  readonly all?: true;
}

export const apiTokenCreate: CommandSpec<CreateOptions> = {
  name: "create <name>",
  summary: "make an API token, for yourself or (as an admin) for somebody else",
  options: [
    { flags: "--user <name>", about: "whose it is; default: yours" },
    { flags: "--role <role...>", about: "good for these roles alone; default: all that its user has", list: true },
    { flags: "--ttl <duration>", about: "how long it is good for, 366d at most (default 90d)" },
    { flags: "--out <file>", about: "write it to this new file, readable by you alone" },
  ],
  notes:
    "The token is shown once; belayd keeps only a digest. One that is made with another token can do no more than that one, and\n" +
    "lives no longer.",
  examples: [
    "belay token create laptop --out token",
    "belay token create dashboard --role viewer --ttl 30d",
    "belay token create first --user ann --out ann.token",
  ],
  async run(session, { user, role, ttl, out }, [name = ""]) {
    const request: TokenRequest = {
      name,
      ...(user === undefined ? {} : { user }),
      ...(role === undefined ? {} : { roles: role }),
      ...(ttl === undefined ? {} : { ttlMs: readTtl(ttl) }),
    };
    const { api } = await session.connect();
    if (out === undefined) {
      session.answer(await api.createApiToken(request), ({ token }) => [token]);
      return EXIT.ok;
    }
    const { token: _, ...view } = await keepInNewFile(out, () => api.createApiToken(request));
    session.answer({ ...view, file: out }, () => [`token ${view.id} of ${view.user} written to ${out}`]);
    return EXIT.ok;
  },
};

export const apiTokenList: CommandSpec<ListOptions> = {
  name: "list",
  summary: "list API tokens: what they are good for, when they were last used, when they end",
  options: [
    { flags: "--user <name>", about: "this user's; default: yours" },
    { flags: "--all", about: "everybody's" },
  ],
  examples: ["belay token list", "belay token list --all"],
  async run(session, options) {
    const { api } = await session.connect();
    const now = session.outside.now();
    session.answer(await api.apiTokens(options), (tokens) => tokenListing(tokens, now));
    return EXIT.ok;
  },
};

export const apiTokenRevoke: CommandSpec = {
  name: "revoke <id>",
  summary: "end an API token at once",
  examples: ["belay token revoke 3f9c41d2e0aa"],
  async run(session, _options, [id = ""]) {
    const { api } = await session.connect();
    session.answer(await api.revokeApiToken(id), () => [`token ${id} revoked`]);
    return EXIT.ok;
  },
};

function readTtl(text: string): number {
  const ttlMs = parseDuration(text);
  if (ttlMs !== null) return ttlMs;
  throw new BelayError("usage", `--ttl ${text} is no duration`, { hint: "Write it as 12h or 90d." });
}
