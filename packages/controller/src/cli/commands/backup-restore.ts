import type { RestoreRequest } from "../../api/contract.js";
import { renderBlocked, renderPlan } from "../../plan/render.js";
import { acceptedRisks, RISK_OPTIONS, type RiskOptions } from "../accept-risk.js";
import type { CommandSpec } from "../command.js";
import { confirmed } from "../confirm.js";
import { EXIT } from "../exit.js";
import { linesOf } from "../render/text.js";
import { type WatchOptions, watchRun } from "../watch/watch.js";
import { showPlanAnswer } from "./plan.js";
import { WATCH_OPTIONS, wantsWatching } from "./run-watch.js";

interface RestoreOptions extends WatchOptions, RiskOptions {
  readonly safetyBackup: boolean;
  readonly planOnly?: true;
  readonly yes?: true;
  readonly reason?: string;
  readonly watch?: true;
}

export const backupRestore: CommandSpec<RestoreOptions> = {
  name: "restore <host> <backup>",
  summary: "put a backup back on its host: plan it, show the plan, and start it when you say so",
  options: [
    { flags: "--no-safety-backup", about: "don't keep what is there now aside first (when nothing of it is left)" },
    { flags: "--plan-only", about: "make the plan and show it, start nothing" },
    { flags: "--yes", about: "start it without asking" },
    { flags: "--reason <text>", about: "why, for the record" },
    ...RISK_OPTIONS,
    { flags: "--watch", about: "follow the restore to its end" },
    ...WATCH_OPTIONS,
  ],
  notes:
    "A restore is a run of its own, behind a gate: what was stored since the backup is lost. Of an auth, every auth of its\n" +
    "cluster stops, the backend and the version that made the backup come back, and the others join. Where the host has lost\n" +
    "the backup, its copy is used. To undo an upgrade of many hosts, use belay run rollback.\n" +
    "Exit codes: with --plan-only those of belay plan; else 0 started, or those of belay run watch.",
  examples: [
    "belay backup restore auth-1 20261123-201500-3f9c7a04b1.hop-1.auth-1 --plan-only",
    'belay backup restore auth-1 20261123-201500-3f9c7a04b1.hop-1.auth-1 --reason "disk died" --no-safety-backup --yes --watch',
  ],
  async run(session, options, [host = "", backup = ""]) {
    const acceptRisks = acceptedRisks(options);
    const { api } = await session.connect();
    const { reason, safetyBackup } = options;
    const request: RestoreRequest = { safetyBackup, acceptRisks, ...(reason === undefined ? {} : { reason }) };
    if (options.planOnly || !options.yes) {
      const { plan } = await api.restoreBackup(host, backup, { ...request, planOnly: true });
      if (options.planOnly || !plan.ok) return showPlanAnswer(session, plan);
      if (!session.json) session.print(linesOf(renderPlan(plan.plan)));
      if (!(await confirmed(session, "restore"))) {
        session.remark("Nothing was started.");
        return EXIT.error;
      }
    }
    const answer = await api.restoreBackup(host, backup, { ...request, planOnly: false });
    const { plan, run } = answer;
    if (!plan.ok || run === null) {
      session.answer(answer, () => (plan.ok ? ["there is nothing to restore"] : linesOf(renderBlocked(plan))));
      return plan.ok ? EXIT.ok : EXIT.error;
    }
    if (options.watch || wantsWatching(options)) {
      session.remark(`restore ${run} started`);
      return watchRun(session, api, run, options);
    }
    session.answer(answer, () => [`restore ${run} started; belay run watch ${run} follows it`]);
    return EXIT.ok;
  },
};
