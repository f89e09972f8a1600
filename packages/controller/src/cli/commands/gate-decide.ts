import { BelayError } from "@belay/shared";
import type { GateView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { findGate } from "./gate-target.js";

interface DecideOptions {
  readonly reason?: string;
  readonly run?: string;
}

export const gateApprove = decide("approve", {
  summary: "approve a gate, so that what lies behind it may happen; without names, the one that is open",
  examples: ['belay gate approve --reason "looks good"', "belay gate approve latest hop-1.main.auth"],
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
    ],
    notes: "belayd records whose token decided, when and why.",
    examples,
    async run(session, options, args) {
      const reason = options.reason?.trim() ?? "";
      if (verb === "reject" && reason === "") {
        throw new BelayError("reason-missing", "a gate is rejected for a reason", { hint: "Say it: --reason TEXT" });
      }
      const { api } = await session.connect();
      const { run, gate } = await findGate(api, args, options.run);
      session.answer(await api.decideGate(run, gate, verb, { reason }), (view) => decidedLines(view, verb));
      return EXIT.ok;
    },
  };
}

function decidedLines(view: GateView, verb: "approve" | "reject"): string[] {
  const approvals = new Set(view.decisions.filter(({ decision }) => decision === "approve").map((each) => each.by))
    .size;
  const last = view.decisions.at(-1);
  const by = last === undefined ? "" : ` by ${last.by}`;
  const missing = verb === "approve" && view.status === "open" ? view.approvalsNeeded - approvals : 0;
  const group = view.group === null ? "" : ` from ${view.group}`;
  return [
    `gate ${view.gate} of run ${view.run}: ${verb === "approve" ? "approved" : "rejected"}${by}`,
    ...(missing > 0 ? [`${missing} more of ${view.approvalsNeeded} approvals needed${group}`] : []),
  ];
}
