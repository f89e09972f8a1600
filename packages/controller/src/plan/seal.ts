import { digestOf } from "@belay/shared";
import type { Fleet } from "../inventory/fleet.js";
import { findRoot } from "./approvals/tree.js";
import type { Pieces } from "./pieces.js";
import type { Hop, Plan } from "./plan.js";
import { gateOf } from "./stages.js";

/** A plan that has no id yet. */
export type Draft = Omit<Plan, "id">;

/** The plan with its id: the SHA-256 of the canonical JSON of everything else in it. What is approved is what runs (I6). */
export function sealPlan(plan: Draft): Plan {
  return { id: digestOf(plan), ...plan };
}

/** Where approvals are signed, the root of all that hosts will be asked for goes into the plan before it is sealed. */
export function* sealFor(fleet: Fleet, { id: _, ...draft }: Plan): Pieces<Plan> {
  const signed = fleet.approvals === "signed" && draft.hops.length > 0;
  return sealPlan(signed ? { ...draft, approvals: yield* findRoot({ id: "", ...draft }) } : draft);
}

/** Where approvals are signed, not even a look is asked for before somebody has signed: the first stage has a gate too. */
export function gatedStart(fleet: Fleet, hops: readonly Hop[]): readonly Hop[] {
  const [hop, ...others] = hops;
  const [first, ...stages] = hop?.stages ?? [];
  const cluster = fleet.clusters.find(({ name }) => name === first?.cluster);
  if (fleet.approvals !== "signed" || hop === undefined || first === undefined || cluster === undefined) return hops;
  const gate = first.gate ?? gateOf({ fleet, cluster, hop: hop.id }, first.id, "start", false);
  return [{ ...hop, stages: [{ ...first, gate }, ...stages] }, ...others];
}
