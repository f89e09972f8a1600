/** The commands that end a wait, as a person types them: one place, so that they can be held against the real CLI. */

export const approve = (run: string, gate: string, mustSign: boolean) =>
  `belay gate approve ${run} ${gate} --reason "..."${mustSign ? " --sign" : ""}`;

export const answerFailure = (run: string) =>
  `belay run retry ${run}, or skip, rollback or abort in its place (belay gate show ${run} tells what happened)`;

export const abort = (run: string) => `belay run abort ${run} --reason "..."`;

/** The same way back, planned anew with nothing kept aside first. */
export const rollBackBare = (run: string, undone: string, scope: string) =>
  `${rollBackAnew(run, undone, scope)} --no-safety-backup`;

/** The same way back, planned anew by what is known now. */
export const rollBackAnew = (run: string, undone: string, scope: string) =>
  `${abort(run)}, then belay run rollback ${undone} --scope ${scope}`;

export const restoreOther = (run: string, host: string) => `${abort(run)}, then belay backup list --host ${host}`;

export const restoreBare = (run: string, host: string, backup: string) =>
  `${abort(run)}, then belay backup restore ${host} ${backup} --no-safety-backup`;

export const resume = (run: string) => `belay run resume ${run}`;

export const watch = (run: string) => `nothing to do; belay run watch ${run} follows it`;

export const bringBack = (host: string) =>
  `bring the host's belay-agent back, or belay host quarantine ${host} --reason "..."`;

export const show = (run: string) => `belay run show ${run}`;
