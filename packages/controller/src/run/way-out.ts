import type { HostName } from "@belay/shared";
import type { RunState } from "./state.js";
import * as unblock from "./unblock.js";

/**
 * What a person can do about a failed host beside trying again, where this run can't offer it: a way back that can't keep aside
 * what is there now goes on only by a plan that doesn't, and losing that is for people to decide. Null: nothing more.
 */
export function wayOutOf(state: RunState, host: HostName): string | null {
  const { run, plan } = state;
  if (!failsBeforeRestoring(state, host)) return null;
  const { undoes, restore } = plan;
  const command =
    undoes !== undefined
      ? unblock.rollBackBare(run, undoes.run, undoes.scope)
      : restore !== undefined
        ? unblock.restoreBare(run, restore.host, restore.backup)
        : null;
  return command === null ? null : `what ${host} has now can't be kept aside; to go back without: ${command}`;
}

function failsBeforeRestoring({ batch }: RunState, host: HostName): boolean {
  const work = batch?.failed.has(host) ? batch.work.get(host) : undefined;
  if (work === undefined) return false;
  const failing = work.program[work.next];
  return (failing === "backup" || failing === "verify-backup") && work.program.indexOf("restore") > work.next;
}
