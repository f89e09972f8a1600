import type { CommandSpec, OptionSpec } from "../command.js";
import { type WatchOptions, watchRun } from "../watch/watch.js";

export const WATCH_OPTIONS: readonly OptionSpec[] = [
  { flags: "--exit-at-gate", about: "leave when a gate needs people (exit code 3)" },
  {
    flags: "--exit-at-failure",
    about: "leave at a failure gate only (exit code 2 or 4); others wait for their answer",
  },
  { flags: "--prompt", about: "answer gates right here; needs a terminal" },
];

/** True for options that make sense only for somebody who follows the run. */
export function wantsWatching({ exitAtGate, exitAtFailure, prompt }: WatchOptions): boolean {
  return exitAtGate === true || exitAtFailure === true || prompt === true;
}

export const runWatch: CommandSpec<WatchOptions> = {
  name: "watch [run]",
  summary: "follow a run (default: the newest): a live screen on a terminal, else lines as things happen",
  options: WATCH_OPTIONS,
  notes: `Ctrl-C ends the watching, never the run. With --json a value a line: {"view": ...}, {"lost": ...}, and {"recap": ...}
at the end.

Exit codes: 0 done; 1 error, aborted, denied or rolled back; 2 hosts failed, also when it is left at a failure gate;
4 hosts unreachable, likewise; 3 waiting at a gate, with --exit-at-gate.`,
  examples: ["belay run watch", "belay run watch 20261123-201500-3f9c7a --exit-at-gate"],
  async run(session, options, [run = "latest"]) {
    return watchRun(session, (await session.connect()).api, run, options);
  },
};
