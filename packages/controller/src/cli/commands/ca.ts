import type { AuthorityView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime } from "../render/measure.js";
import { names, plural, table } from "../render/text.js";
import type { Session } from "../session.js";

interface PhaseOptions {
  readonly reason?: string;
  readonly lose?: readonly string[];
}

const REASON = { flags: "--reason <text>", about: "why, for the record" } as const;
const LOSE = {
  flags: "--lose <host...>",
  about: "hosts that may be lost by this, each by its name; they join again with a new token",
  list: true,
} as const;
const SHOWN_NAMES = 5;

export const caShow: CommandSpec<{ readonly pem?: true }> = {
  name: "show",
  summary: "show belayd's authority, and where a rotation stands",
  options: [{ flags: "--pem", about: "the certificates themselves, for tools that reach belayd over TLS" }],
  examples: ["belay ca show", "belay ca show --pem > belayd-ca.pem"],
  async run(session, { pem }) {
    const { api } = await session.connect();
    const authorities = await api.authorities();
    if (pem) session.print(authorities.flatMap(({ certificate }) => certificate.trimEnd().split("\n")));
    else session.answer(authorities, standing);
    return EXIT.ok;
  },
};

export const caRotate: CommandSpec<PhaseOptions> = {
  name: "rotate",
  summary: "begin a rotation: make another authority, and have hosts trust it",
  options: [REASON],
  notes:
    "Nothing else changes yet. Connected hosts have it within moments, others when they connect; belay ca show counts them. Then\n" +
    "belay ca activate, and at the end belay ca retire, which also calls off a rotation that was not activated.",
  examples: ['belay ca rotate --reason "yearly"'],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.rotateAuthority(), standing);
    return EXIT.ok;
  },
};

export const caActivate: CommandSpec<PhaseOptions> = {
  name: "activate",
  summary: "let certificates come from the next authority, belayd's own at once, the hosts' as they renew",
  options: [LOSE, REASON],
  notes:
    "Refused while a host with a valid certificate does not trust the next authority. Tokens that were not used yet end.",
  examples: ["belay ca activate", "belay ca activate --lose db-7"],
  async run(session, options) {
    const { api } = await session.connect();
    const answer = await api.activateAuthority(commandOf(options));
    session.answer(answer, ({ authorities }) => standing(authorities));
    remarkTokens(session, answer.tokensEnded);
    return EXIT.ok;
  },
};

export const caRetire: CommandSpec<PhaseOptions> = {
  name: "retire",
  summary: "end a rotation: trust the former authority no more, or give up one that was not activated",
  options: [LOSE, REASON],
  notes:
    "Refused while a host has yet to show a certificate of the new authority. Its key is deleted, unless you brought it along.",
  examples: ["belay ca retire", "belay ca retire --lose db-7"],
  async run(session, options) {
    const { api } = await session.connect();
    session.answer(await api.retireAuthority(commandOf(options)), standing);
    return EXIT.ok;
  },
};

function commandOf({ reason, lose }: PhaseOptions) {
  return { ...(reason === undefined ? {} : { reason }), ...(lose === undefined ? {} : { lose }) };
}

function standing(authorities: readonly AuthorityView[]): string[] {
  return authorities.flatMap((one) => [
    ...table([
      [one.phase, one.pin],
      ["since", dateTime(one.since)],
      ["valid until", dateTime(one.validUntil)],
      ["trusted by", `${plural(one.trustedBy, "host")}${withoutText(one.notTrustedBy)}`],
      ["issued to", plural(one.issuedTo.length, "host")],
    ]),
    "",
  ]);
}

function withoutText(hosts: readonly string[]): string {
  return hosts.length === 0 ? "" : `, not yet by ${names(hosts, SHOWN_NAMES)}`;
}

function remarkTokens(session: Session, hosts: readonly string[]): void {
  if (hosts.length > 0) session.remark(`unused tokens ended: ${names(hosts, SHOWN_NAMES)}; make new ones`);
}
