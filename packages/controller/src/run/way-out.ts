import type { HostName } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import type { HostWork, RunState } from "./state.js";
import * as unblock from "./unblock.js";

/** The backup that was to be put back is no use. */
const LOST: readonly string[] = ["backup-missing", "backup-corrupt"];

/**
 * What a person can do about a failed host beside trying again, where this run can't offer it. A way back that can't keep aside
 * what is there now goes on only by a plan that doesn't, and losing that is for people to decide; one whose backup is no use
 * needs a plan with another. Null: nothing more.
 */
export function wayOutOf({ run, plan, batch }: RunState, host: HostName): string | null {
  const failure = batch?.failed.get(host);
  const work = batch?.work.get(host);
  if (failure === undefined || work === undefined) return null;
  if (isKeepingAside(work)) {
    const command = bareCommand(run, plan);
    return command === null ? null : `what ${host} has now can't be kept aside; to go back without: ${command}`;
  }
  if (!LOST.includes(failure.error.code)) return null;
  const command = otherCommand(run, plan);
  return command === null ? null : `to go back by another backup, if there is one: ${command}`;
}

function isKeepingAside({ program, next }: HostWork): boolean {
  const failing = program[next];
  return (failing === "backup" || failing === "verify-backup") && program.indexOf("restore") > next;
}

function bareCommand(run: string, { undoes, restore }: Plan): string | null {
  if (undoes !== undefined) return unblock.rollBackBare(run, undoes.run, undoes.scope);
  return restore === undefined ? null : unblock.restoreBare(run, restore.host, restore.backup);
}

function otherCommand(run: string, { undoes, restore }: Plan): string | null {
  if (undoes !== undefined) return unblock.rollBackAnew(run, undoes.run, undoes.scope);
  return restore === undefined ? null : unblock.restoreOther(run, restore.host);
}
