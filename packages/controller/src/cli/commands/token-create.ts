import { open, unlink } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { parseDuration } from "../../inventory/duration.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

interface CreateOptions {
  readonly host: string;
  readonly ttl?: string;
  readonly plaintext?: true;
  readonly out?: string;
}

export const tokenCreate: CommandSpec<CreateOptions> = {
  name: "create",
  summary: "make a host's token for joining; an earlier one of this host ends",
  options: [
    { flags: "--host <host>", about: "the host's name, as the fleet declares it", required: true },
    { flags: "--ttl <duration>", about: "how long the host may take to join, such as 30m; 90d at most (default 1h)" },
    {
      flags: "--plaintext",
      about: "not for joining: for an agent on belayd's own machine, shown in the clear (agents.plaintextTokens)",
    },
    { flags: "--out <file>", about: "write it to this new file, readable by you alone" },
  ],
  notes:
    "The token is shown once; belayd keeps only a digest. It is good for one host and one key, and tells the agent which belayd\n" +
    "to believe: the agent sends nothing before it has found that out. A second use is refused, and belay agent token list shows it.",
  examples: [
    "belay agent token create --host auth-1 --out token",
    "belay agent token create --host node-7 --ttl 15m --json",
  ],
  async run(session, { host, out, ttl, plaintext }) {
    const request = {
      host,
      ...(ttl === undefined ? {} : { ttlSeconds: secondsOf(ttl) }),
      ...(plaintext ? { plaintext } : {}),
    };
    const { api } = await session.connect();
    if (out === undefined) {
      session.answer(await api.createToken(request), ({ token }) => [token]);
      return EXIT.ok;
    }
    // First the file: a token that can't be kept would have ended the earlier one for nothing.
    const file = await open(out, "wx", 0o600).catch((cause: unknown) => {
      throw new BelayError("file-not-writable", `cannot make ${out}: ${(cause as Error).message}`, {
        hint: "It must not exist yet, in a folder you may write to.",
        cause,
      });
    });
    try {
      await file.writeFile(`${(await api.createToken(request)).token}\n`);
    } catch (error) {
      await unlink(out);
      throw error;
    } finally {
      await file.close();
    }
    session.answer({ host, file: out }, () => [`token of ${host} written to ${out}`]);
    return EXIT.ok;
  },
};

function secondsOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms >= 1000) return Math.floor(ms / 1000);
  throw new BelayError("usage", `--ttl ${text} is no duration`, { hint: "Write it as 15m or 2h." });
}
