import type { Plan, PlanKind, Risk } from "../plan/plan.js";
import type { AgentRollout } from "../products/viewpoint.js";

export interface PlanRequest {
  readonly to: string;
  readonly via?: readonly string[];
  /** `CODE:SUBJECT`, and why. */
  readonly acceptRisks?: readonly { readonly code: string; readonly subject: string; readonly why: string }[];
  readonly quarantine?: readonly string[];
  readonly clusters?: readonly string[];
  readonly limit?: readonly string[];
  /** `belay-agent`: the agents themselves; absent: the fleet's own product. */
  readonly product?: string;
  /** For the agents' own upgrade: how many go first, and how many then, in place of the fleet's policy for nodes. */
  readonly rollout?: AgentRollout;
}

/** `changes` false and `ok` true: nothing to do. A plan with changes was linted and saved. */
export type PlanAnswer =
  | { readonly ok: true; readonly changes: boolean; readonly plan: Plan }
  | { readonly ok: false; readonly to: string; readonly blocked: readonly Risk[]; readonly risks: readonly Risk[] };

export interface PlanSummary {
  readonly id: string;
  readonly kind: PlanKind;
  readonly to: string;
  readonly hops: number;
  readonly hosts: number;
  readonly createdAt: number;
  readonly createdBy: string;
}
