import type { IdentityView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime, span } from "../render/measure.js";
import { listing } from "../render/text.js";

export const agentList: CommandSpec = {
  name: "list",
  summary: "list the hosts that have joined, and how long their certificates last",
  notes:
    "A certificate is renewed by its agent after two thirds of its life. One that has ended is renewed by nobody: that host joins\n" +
    "again with a new token.",
  examples: ["belay agent list"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.identities(), (identities) =>
      listing(
        ["HOST", "AGENT", "JOINED", "CERTIFICATE", "AUTHORITY"],
        identities.map((identity) => [
          identity.host,
          identity.present ? "connected" : "offline",
          `${dateTime(identity.joinedAt)}${identity.generation > 1 ? ` (${identity.generation}. time)` : ""}`,
          certificateText(identity, session.outside.now()),
          identity.issuer?.slice(0, 16) ?? "",
        ]),
        "no host has joined: belay agent token create --host HOST",
      ),
    );
    return EXIT.ok;
  },
};

function certificateText({ revoked, expiresAt }: IdentityView, now: number): string {
  if (revoked !== null) return `revoked ${dateTime(revoked.at)} by ${revoked.by}: ${revoked.reason}`;
  if (expiresAt <= now) return `ended ${dateTime(expiresAt)}`;
  return `until ${dateTime(expiresAt)} (${span(expiresAt - now)})`;
}
