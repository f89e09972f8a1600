import { BelayError, type SignedStatement } from "@belay/shared";
import type { GateView } from "../../api/contract.js";
import type { Api } from "../api.js";
import type { CommandSpec, OptionSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { approvalsIn } from "../render/gate.js";
import type { Session } from "../session.js";
import { DEFAULT_EXPIRES, signGate } from "../signing/sign-gate.js";
import { findGate, type GateTarget } from "./gate-target.js";

interface DecideOptions {
  readonly reason?: string;
  readonly breakGlass?: true;
  readonly run?: string;
  readonly sign?: string | true;
  readonly expires?: string;
  readonly allHosts?: boolean;
  readonly yes?: boolean;
}

const SIGNING: readonly OptionSpec[] = [
  { flags: "--sign [key]", about: "sign with this SSH key (BELAY_SIGNING_KEY; default the usual one in ~/.ssh)" },
  { flags: "--expires <time>", about: "how long the signature counts", default: DEFAULT_EXPIRES },
  { flags: "--all-hosts", about: "before signing, name every host; else ten of each list, and a digest of it" },
  { flags: "--yes", about: "sign without asking" },
];

const BREAK_GLASS: OptionSpec = {
  flags: "--break-glass",
  about: "as an admin, let the run pass alone, whatever the gate asks for; needs --reason",
};

const DECIDED = { approve: "approved", reject: "rejected", "break-glass": "GLASS BROKEN" } as const;

export const gateApprove = decide("approve", {
  summary: "approve a gate, so that what lies behind it may happen; without names, the one that is open",
  examples: [
    'belay gate approve --reason "looks good"',
    "belay gate approve latest hop-1.main.auth",
    "belay gate approve --sign ~/.ssh/id_ed25519 --expires 4h",
    'belay gate approve --break-glass --reason "the others can not be reached, and logins are down"',
  ],
});

export const gateReject = decide("reject", {
  summary: "reject a gate: the run ends as denied, and nothing behind the gate happens",
  examples: ['belay gate reject --reason "backup of auth-1 is too old"'],
});

function decide(
  verb: "approve" | "reject",
  { summary, examples }: Pick<CommandSpec, "summary" | "examples">,
): CommandSpec<DecideOptions> {
  return {
    name: `${verb} [run] [gate]`,
    summary,
    options: [
      { flags: "--reason <text>", about: verb === "reject" ? "why; needed" : "why, for the record" },
      { flags: "--run <run>", about: "the run it belongs to" },
      ...(verb === "approve" ? [BREAK_GLASS, ...SIGNING] : []),
    ],
    notes:
      "belayd records whose token decided, when and why." +
      (verb === "approve"
        ? "\n--sign fetches the plan, lints it, finds its digest and the root of its steps itself, shows what will happen, and signs that;\nof a gate that is passed, what was signed is renewed." +
          "\n--break-glass is on record for good: in the run, its log, and at every gate that follows."
        : ""),
    examples,
    async run(session, options, args) {
      const reason = options.reason?.trim() ?? "";
      const word = options.breakGlass ? "break-glass" : verb;
      if (word !== "approve" && reason === "") {
        const what = word === "reject" ? "a gate is rejected" : "glass is broken";
        throw new BelayError("reason-missing", `${what} for a reason`, { hint: "Say it: --reason TEXT" });
      }
      if (options.sign !== undefined && word !== "approve") {
        throw new BelayError("usage", "only an approval is signed", { hint: "Leave --sign or --break-glass out." });
      }
      const { api } = await session.connect();
      const { run, gate } = await findGate(api, args, options.run);
      const signed = options.sign === undefined ? {} : await sign(session, api, { run, gate }, options);
      if (signed === null) return EXIT.ok;
      session.answer(await api.decideGate(run, gate, word, { reason, ...signed }), (view) => decidedLines(view, word));
      return EXIT.ok;
    },
  };
}

async function sign(
  session: Session,
  api: Api,
  target: GateTarget,
  { sign: key, expires = DEFAULT_EXPIRES, allHosts = false, yes = false }: DecideOptions,
): Promise<{ signed: SignedStatement } | null> {
  const named = typeof key === "string" ? key : undefined;
  const signed = await signGate(session, api, target, { key: named, expires, allHosts, yes });
  return signed === null ? null : { signed };
}

function decidedLines(view: GateView, word: keyof typeof DECIDED): string[] {
  const last = view.decisions.at(-1);
  const by = last === undefined ? "" : ` by ${last.by}`;
  const missing = word === "approve" && view.status === "open" ? view.approvalsNeeded - approvalsIn(view) : 0;
  const group = view.group === null ? "" : ` from ${view.group}`;
  return [
    `gate ${view.gate} of run ${view.run}: ${DECIDED[word]}${by}`,
    ...(missing > 0 ? [`${missing} more of ${view.approvalsNeeded} approvals needed${group}`] : []),
  ];
}
