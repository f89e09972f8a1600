import type { JoinTokenView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime } from "../render/measure.js";
import { listing } from "../render/text.js";

export const tokenList: CommandSpec = {
  name: "list",
  summary: "list the tokens for joining, and what became of them",
  notes:
    "REFUSED: somebody tried it in vain, such as a second time. Then see who that was, and whether the host is the right one.",
  examples: ["belay agent token list"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.tokens(), (tokens) =>
      listing(
        ["HOST", "STATE", "MADE", "UNTIL", "USED", "REFUSED"],
        tokens.map((token) => [
          token.host,
          token.state,
          dateTime(token.createdAt),
          token.expiresAt === null ? "for ever" : dateTime(token.expiresAt),
          usedText(token),
          refusedText(token),
        ]),
        "there are no tokens: belay agent token create --host HOST",
      ),
    );
    return EXIT.ok;
  },
};

function usedText({ usedAt, usedFrom }: JoinTokenView): string {
  if (usedAt === null) return "never";
  return usedFrom === null ? dateTime(usedAt) : `${dateTime(usedAt)} from ${usedFrom}`;
}

function refusedText({ refusals, refused }: JoinTokenView): string {
  return refused === null ? "" : `${refusals}x, last ${dateTime(refused.at)} from ${refused.from}: ${refused.why}`;
}
