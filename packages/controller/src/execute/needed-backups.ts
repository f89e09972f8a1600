import type { PlanStore } from "../store/plans.js";
import type { RunStore } from "../store/runs.js";

/**
 * Which backups runs that have not ended may yet put back: their own, those of the run they undo, and those that their
 * plan names. Of a step that has not ended, the backup's name alone says whose it is.
 */
export async function neededBackups(
  runs: RunStore,
  plans: PlanStore,
  pending: () => Promise<readonly string[]>,
): Promise<(backup: { readonly host: string; readonly backup: string; readonly run: string | null }) => boolean> {
  const active = new Set(await pending());
  const named = new Set<string>();
  for (const { id, plan: planId } of await runs.unfinished()) {
    active.add(id);
    const plan = await plans.get(planId);
    if (plan.undoes !== undefined) active.add(plan.undoes.run);
    for (const { restores = {} } of plan.hops.flatMap((hop) => hop.stages)) {
      for (const [host, backup] of Object.entries(restores)) named.add(`${host} ${backup}`);
    }
  }
  return ({ host, backup, run }) =>
    named.has(`${host} ${backup}`) || active.has(run ?? backup.slice(0, Math.max(0, backup.indexOf("."))));
}
