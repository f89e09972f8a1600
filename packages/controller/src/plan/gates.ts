import type { Gate, Plan } from "./plan.js";

/** How often people will be asked, and how many of them at a point of no return. */
export interface GateSummary {
  readonly total: number;
  readonly pointsOfNoReturn: number;
  /** The most approvals that any point of no return asks for. */
  readonly approvals: number;
  /** The one group whose approvals count there, or null when that differs or anybody's do. */
  readonly group: string | null;
}

export function summarizeGates(plan: Plan): GateSummary {
  const gates = plan.hops.flatMap((hop) =>
    hop.stages.flatMap((stage): Gate[] => (stage.gate === null ? [] : [stage.gate])),
  );
  const final = gates.filter((gate) => gate.pointOfNoReturn);
  const groups = new Set(final.map((gate) => gate.group));
  return {
    total: gates.length,
    pointsOfNoReturn: final.length,
    approvals: Math.max(0, ...final.map((gate) => gate.approvals)),
    group: groups.size === 1 ? ([...groups][0] ?? null) : null,
  };
}
