import { BelayError, type HostName } from "@belay/shared";
import { platformName } from "./artifacts.js";
import type { Plan } from "./plan.js";
import { indexPlan, opsFor, stopOpsFor } from "./program.js";
import type { Reasons } from "./reasons.js";

/** As long as any run's own id: what is too long shows now, not in the middle of a run. */
const SAMPLE_RUN = "run-00000000-0000-0000-0000-000000000000";

/**
 * Fills in every program once for each kind of host (cluster, roles, platform, own variables), so that a variable that
 * makes no sense is found by the person who plans, and not by a host in the middle of a run.
 */
export function rehearse(plan: Plan, reasons: Reasons): void {
  const index = indexPlan(plan);
  const kinds = new Map<HostName, string>();
  for (const [name, host] of Object.entries(plan.hosts)) {
    const own = Object.keys(host.vars).length === 0 ? "" : name;
    kinds.set(name, `${host.cluster} ${host.roles.join("+")} ${platformName(host.platform)} ${own}`);
  }
  for (const hop of plan.hops) {
    for (const stage of hop.stages) {
      const tried = new Set<string>();
      for (const [hosts, ops] of [
        [stage.batches.flat(), opsFor],
        [stage.stop, stopOpsFor],
      ] as const) {
        for (const host of hosts) {
          const key = `${ops === opsFor} ${kinds.get(host)}`;
          if (tried.has(key)) continue;
          tried.add(key);
          try {
            ops(index, { run: SAMPLE_RUN, stage: stage.id, host });
          } catch (error) {
            if (!(error instanceof BelayError)) throw error;
            reasons.block({
              code: "program-invalid",
              subject: host,
              message: `${host} in ${stage.id}: ${error.message}`,
              ...(error.hint === undefined ? {} : { hint: error.hint }),
            });
          }
        }
      }
    }
  }
}
