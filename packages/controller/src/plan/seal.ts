import { digestOf } from "@belay/shared";
import type { Plan } from "./plan.js";

/** The plan with its id: the SHA-256 of the canonical JSON of everything else in it. What is approved is what runs (I6). */
export function sealPlan(plan: Omit<Plan, "id">): Plan {
  return { id: digestOf(plan), ...plan };
}
