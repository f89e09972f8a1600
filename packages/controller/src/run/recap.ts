import type { HostName } from "@belay/shared";
import type { Recap } from "../api/contract.js";
import type { World } from "./decision.js";
import { type RunState, versionOf } from "./state.js";
import { hostsOf, programOf, STOP_BATCH } from "./steps.js";

/**
 * A line a host, in plan order, in Ansible's words and counted in steps: `ok` found nothing to change, `changed` did,
 * `failed` and `unreachable` are what ended badly and was not put right, `skipped` is what was left out of hosts set
 * aside. `runs` is what the host itself reports; without a world, what its last swap saw running.
 */
export function recapOf(state: RunState, world?: World): Recap {
  const planned = plannedSteps(state);
  return {
    run: state.run,
    result: state.ended?.result ?? null,
    hosts: [...planned].map(([host, steps]) => {
      const { ok = 0, changed = 0, unreachable = 0, failed = 0, would = [] } = state.hosts.get(host) ?? {};
      const left = steps - ok - changed - unreachable - failed;
      return {
        host,
        ok,
        changed,
        unreachable,
        failed,
        skipped: state.setAside.has(host) ? Math.max(0, left) : 0,
        runs: world?.factsOf(host)?.running ?? versionOf(state, host),
        ...(state.check ? { would } : {}),
      };
    }),
  };
}

/** How many steps each host has in the stages that this run visits, if nothing is tried twice. */
function plannedSteps(state: RunState): Map<HostName, number> {
  const steps = new Map<HostName, number>();
  for (const { stage } of state.stages) {
    for (let batch = STOP_BATCH; batch < stage.batches.length; batch++) {
      for (const host of hostsOf(stage, batch)) {
        const count = programOf(state.plan, stage, host, batch)?.length ?? 0;
        steps.set(host, (steps.get(host) ?? 0) + count);
      }
    }
  }
  return steps;
}
