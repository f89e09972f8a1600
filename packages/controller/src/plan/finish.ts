import { BelayError } from "@belay/shared";
import type { Fleet } from "../inventory/fleet.js";
import { checkAgents } from "./agents.js";
import type { FleetFacts } from "./input.js";
import type { Pieces } from "./pieces.js";
import type { Plan } from "./plan.js";
import type { Reasons } from "./reasons.js";
import { rehearse } from "./rehearse.js";
import { sealFor } from "./seal.js";

/**
 * The last of planning: every program is tried, every agent must have words for it, then the plan is sealed. Null: reasons
 * say why not.
 */
export function* finish(
  draft: Plan,
  { fleet, facts }: { readonly fleet: Fleet; readonly facts: FleetFacts },
  reasons: Reasons,
): Pieces<Plan | null> {
  rehearse(draft, reasons);
  checkAgents(draft, facts, reasons);
  if (reasons.blocked.length > 0) return null;
  try {
    return yield* sealFor(fleet, draft);
  } catch (error) {
    if (!(error instanceof BelayError) || error.code !== "program-invalid") throw error;
    reasons.block({
      code: "program-invalid",
      subject: draft.fleet,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
    return null;
  }
}
