import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime } from "../render/measure.js";
import { listing } from "../render/text.js";

export const tokenList: CommandSpec = {
  name: "list",
  summary: "list the hosts that have a token",
  examples: ["belay agent token list"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.tokens(), (tokens) =>
      listing(
        ["HOST", "MADE", "USED"],
        tokens.map(({ host, createdAt, usedAt }) => [
          host,
          dateTime(createdAt),
          usedAt === null ? "never" : dateTime(usedAt),
        ]),
        "no host has a token: belay agent token create --host HOST",
      ),
    );
    return EXIT.ok;
  },
};
