import type { RollbackRequest } from "../../api/contract.js";
import { renderBlocked, renderPlan } from "../../plan/render.js";
import type { CommandSpec } from "../command.js";
import { confirmed } from "../confirm.js";
import { EXIT } from "../exit.js";
import { linesOf } from "../render/text.js";
import { type WatchOptions, watchRun } from "../watch/watch.js";
import { showPlanAnswer } from "./plan.js";
import { WATCH_OPTIONS, wantsWatching } from "./run-watch.js";

interface RollbackOptions extends WatchOptions {
  readonly scope: RollbackRequest["scope"];
  readonly safetyBackup: boolean;
  readonly planOnly?: true;
  readonly yes?: true;
  readonly reason?: string;
  readonly watch?: true;
}

export const runRollback: CommandSpec<RollbackOptions> = {
  name: "rollback [run]",
  summary: "go back: plan it, show the plan, and start it when you say so",
  options: [
    { flags: "--scope <scope>", about: "how far", choices: ["stage", "hop", "run"], default: "run" },
    {
      flags: "--no-safety-backup",
      about: "don't keep auth's state aside before it is restored (when nothing of it is left)",
    },
    { flags: "--plan-only", about: "make the plan and show it, start nothing" },
    { flags: "--yes", about: "start it without asking" },
    { flags: "--reason <text>", about: "why, for the record" },
    { flags: "--watch", about: "follow the rollback to its end" },
    ...WATCH_OPTIONS,
  ],
  notes:
    "A rollback goes in reverse order, has gates of its own, and restores auth's backend where the point of no return was\n" +
    "passed. What is there then is kept aside first, on its host; where that can't be read any more, --no-safety-backup goes\n" +
    "back without. Exit codes: with --plan-only those of belay plan; else 0 started, or those of belay run watch.",
  examples: ["belay run rollback --plan-only", 'belay run rollback --scope hop --reason "sessions drop" --yes --watch'],
  async run(session, options, [named = "latest"]) {
    const { api } = await session.connect();
    const { scope, safetyBackup, reason } = options;
    const request = { scope, safetyBackup, ...(reason === undefined ? {} : { reason }) };
    // What is asked about must be what is started, even if a newer run appears meanwhile.
    const run = (await api.run(named)).id;
    if (options.planOnly || !options.yes) {
      const { plan } = await api.rollBack(run, { ...request, planOnly: true });
      if (options.planOnly || !plan.ok) return showPlanAnswer(session, plan);
      if (!session.json) session.print(linesOf(renderPlan(plan.plan)));
      if (!(await confirmed(session, "rollback"))) {
        session.remark("Nothing was started.");
        return EXIT.error;
      }
    }
    const answer = await api.rollBack(run, { ...request, planOnly: false });
    if (!answer.plan.ok || answer.run === null) {
      session.answer(answer, ({ plan }) =>
        plan.ok ? ["there is nothing to roll back"] : linesOf(renderBlocked(plan)),
      );
      return answer.plan.ok ? EXIT.ok : EXIT.error;
    }
    const rollback = answer.run;
    if (options.watch || wantsWatching(options)) {
      session.remark(`rollback ${rollback} started`);
      return watchRun(session, api, rollback, options);
    }
    session.answer(answer, () => [`rollback ${rollback} started; belay run watch ${rollback} follows it`]);
    return EXIT.ok;
  },
};
