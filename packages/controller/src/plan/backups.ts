import type { Fleet } from "../inventory/fleet.js";
import type { PlanBackups } from "./plan.js";

/** The fleet's policy as a plan carries it, so that what is approved is what runs. */
export function planBackups({ backups: { keep, maxAgeMs, copy, recipients } }: Fleet): PlanBackups {
  return { keep, maxAgeMs, copy: copy === "none" ? null : { to: copy, recipients: [...recipients] } };
}
