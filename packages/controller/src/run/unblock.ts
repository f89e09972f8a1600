/** The commands that end a wait, as a person types them: one place, so that they can be held against the real CLI. */

export const approve = (run: string, gate: string, mustSign: boolean) =>
  `belay gate approve ${run} ${gate} --reason "..."${mustSign ? " --sign" : ""}`;

export const answerFailure = (run: string) =>
  `belay run retry ${run}, or skip, rollback or abort in its place (belay gate show ${run} tells what happened)`;

export const resume = (run: string) => `belay run resume ${run}`;

export const watch = (run: string) => `nothing to do; belay run watch ${run} follows it`;

export const bringBack = (host: string) =>
  `bring the host's belay-agent back, or belay host quarantine ${host} --reason "..."`;

export const show = (run: string) => `belay run show ${run}`;
