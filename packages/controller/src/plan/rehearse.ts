import { BelayError, type HostName } from "@belay/shared";
import { platformName } from "./artifacts.js";
import type { Plan, Stage } from "./plan.js";
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
  const kinds = kindsOf(plan);
  for (const stage of plan.hops.flatMap((hop) => hop.stages)) {
    for (const host of firstOfEachKind(stage.batches, kinds)) tryOps(host, stage.id, opsFor);
    for (const host of firstOfEachKind([stage.stop], kinds)) tryOps(host, stage.id, stopOpsFor);
  }

  function tryOps(host: HostName, stage: string, ops: typeof opsFor): void {
    try {
      ops(index, { run: SAMPLE_RUN, stage, host });
    } catch (error) {
      if (!(error instanceof BelayError)) throw error;
      reasons.block({
        code: "program-invalid",
        subject: host,
        message: `${host} in ${stage}: ${error.message}`,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  }
}

/** Hosts of the same kind get the same number: their ops differ in nothing but the host's name. */
function kindsOf(plan: Plan): Map<HostName, number> {
  const numbers = new Map<string, number>();
  const kinds = new Map<HostName, number>();
  for (const [name, host] of Object.entries(plan.hosts)) {
    const own = Object.keys(host.vars).length === 0 ? "" : name;
    const kind = `${host.cluster} ${host.roles.join("+")} ${host.version} ${platformName(host.platform)} ${own}`;
    const number = numbers.get(kind) ?? numbers.size;
    numbers.set(kind, number);
    kinds.set(name, number);
  }
  return kinds;
}

function firstOfEachKind(batches: Stage["batches"], kinds: ReadonlyMap<HostName, number>): HostName[] {
  const firsts = new Map<number | undefined, HostName>();
  for (const batch of batches) {
    for (const host of batch) if (!firsts.has(kinds.get(host))) firsts.set(kinds.get(host), host);
  }
  return [...firsts.values()];
}
