import { BelayError } from "@belay/shared";
import type { GateView } from "../../api/contract.js";
import type { Api } from "../api.js";

/** Which gate is meant. */
export interface GateTarget {
  readonly run: string;
  readonly gate: string;
}

/**
 * The gate that a command line means: `GATE`, `RUN`, `RUN GATE`, or nothing when a single gate is open. The id of a gate is
 * that of its stage and has dots in it; the id of a run never has. Throws `gate-none-open` and `gate-ambiguous`.
 */
export async function findGate(api: Api, args: readonly string[], runOption: string | undefined): Promise<GateTarget> {
  const gate = args.find((arg) => arg.includes("."));
  const run = args.find((arg) => !arg.includes(".")) ?? runOption;
  if (gate !== undefined && run !== undefined) return { run, gate };
  const open = await api.gates(run === undefined ? {} : { run });
  if (gate !== undefined) {
    const meant = open.filter((candidate) => candidate.gate === gate);
    // One that isn't open is looked for in the newest run; belayd says what is the matter with it.
    return meant.length === 0 ? { run: "latest", gate } : single(meant);
  }
  if (open.length === 0) {
    throw new BelayError("gate-none-open", run === undefined ? "no gate is open" : `run ${run} has no open gate`, {
      hint: `belay why${run === undefined ? "" : ` ${run}`} says what it waits for; belay gate list --all lists every gate.`,
    });
  }
  return single(open);
}

function single(gates: readonly GateView[]): GateTarget {
  const [first, ...others] = gates;
  if (first !== undefined && others.length === 0) return { run: first.run, gate: first.gate };
  throw new BelayError("gate-ambiguous", `${gates.length} gates are open`, {
    hint: `Name one: ${gates.map(({ run, gate }) => `${run} ${gate}`).join(", or ")}`,
  });
}
