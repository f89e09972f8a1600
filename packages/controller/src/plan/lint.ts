import { parseVersion } from "@belay/shared";
import type { FleetFacts } from "./input.js";
import { checkApprovals } from "./lint/approvals.js";
import type { DeclaredFleet } from "./lint/declared.js";
import { type Finding, Findings } from "./lint/finding.js";
import { checkForm } from "./lint/form.js";
import { Model } from "./lint/model.js";
import { replay } from "./lint/replay.js";
import { checkShape } from "./lint/shape.js";
import { atOnce, type Pieces } from "./pieces.js";
import type { Plan } from "./plan.js";

export type { Finding } from "./lint/finding.js";

/**
 * A second pair of eyes: replays a finished plan step by step on a model of the fleet and names every invariant it
 * breaks, and where. Shares no code with the planner. What was broken before the plan and does not get worse is no
 * finding, nor is a host that a person agreed to leave behind. Pure; an empty list is a clean plan.
 */
export function lintPlan(plan: Plan, fleet: DeclaredFleet, facts: FleetFacts): readonly Finding[] {
  return atOnce(findings(plan, fleet, facts));
}

/** As `lintPlan`, piece by piece. */
export function* findings(plan: Plan, fleet: DeclaredFleet, facts: FleetFacts): Pieces<readonly Finding[]> {
  const found = new Findings();
  checkForm(plan, found);
  // What is not even made as a plan is can't be read any further.
  if (found.all.length > 0) return found.all;
  checkShape(plan, fleet, facts, found);
  // A version that is none can't be replayed; it has been found already.
  if (versionsOf(plan).every((version) => parseVersion(version) !== null)) {
    replay(plan, new Model(plan, fleet, facts), found);
  }
  // One that contradicts itself can't be filled in.
  if (found.all.length === 0) yield* checkApprovals(plan, fleet, found);
  return found.all;
}

function versionsOf({ hops }: Plan): string[] {
  return hops.flatMap((hop) => [hop.to, ...Object.values(hop.targets ?? {})]);
}
