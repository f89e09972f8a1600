import type { GateView, Recap, RunView } from "../../api/contract.js";
import { EXIT } from "../exit.js";

/** What a followed run comes to as an exit code: when it has ended, or stands at a gate that the caller leaves it at. */
export function verdictOf(view: Pick<RunView, "status" | "result" | "gate">, recap: Recap): number {
  if (view.status === "ended" && view.result !== "done") return EXIT.error;
  if (view.status !== "ended" && view.gate?.kind !== "failure") return EXIT.waitingAtGate;
  // As Ansible: hosts out of reach weigh more than hosts that failed.
  if (recap.hosts.some(({ unreachable }) => unreachable > 0)) return EXIT.hostsUnreachable;
  if (recap.hosts.some(({ failed }) => failed > 0)) return EXIT.hostsFailed;
  return view.status === "ended" ? EXIT.ok : EXIT.hostsFailed;
}

/** A gate that still needs somebody: one with all its approvals passes by itself in a moment. */
export function needsPeople(gate: GateView | null): gate is GateView {
  if (gate === null || gate.status !== "open") return false;
  if (gate.kind === "failure") return true;
  return gate.decisions.filter(({ decision }) => decision === "approve").length < gate.approvalsNeeded;
}
