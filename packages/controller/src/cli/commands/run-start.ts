import { BelayError } from "@belay/shared";
import type { Api } from "../api.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { span } from "../render/measure.js";
import type { Session } from "../session.js";
import { type WatchOptions, watchRun } from "../watch/watch.js";
import { WATCH_OPTIONS, wantsWatching } from "./run-watch.js";

interface StartOptions extends WatchOptions {
  readonly check?: true;
  readonly watch?: true;
}

export const runStart: CommandSpec<StartOptions> = {
  name: "start [plan]",
  summary: "carry a plan out; without one, the newest",
  options: [
    { flags: "--check", about: "ask every agent what it would do, change nothing, and follow to the recap" },
    { flags: "--watch", about: "follow the run to its end" },
    ...WATCH_OPTIONS,
  ],
  notes:
    "--check, --exit-at-gate, --exit-at-failure and --prompt follow the run, as --watch does. Exit codes: 0 started; when\n" +
    "following, those of belay run watch.",
  examples: ["belay run start 3f9c41d2e0aa --watch", "belay run start --check", "belay run start --exit-at-gate"],
  async run(session, options, [named]) {
    const { api } = await session.connect();
    const plan = named ?? (await newestPlan(session, api));
    const view = await api.startRun({ plan, check: options.check === true });
    if (options.watch || options.check || wantsWatching(options)) {
      session.remark(`run ${view.id} started`);
      return watchRun(session, api, view.id, options);
    }
    session.answer(view, ({ id }) => [`run ${id} started; belay run watch ${id} follows it`]);
    return EXIT.ok;
  },
};

async function newestPlan(session: Session, api: Api): Promise<string> {
  const [plan] = await api.plans(1);
  if (plan === undefined) {
    throw new BelayError("plan-unknown", "there is no plan yet", { hint: "Make one: belay plan --to VERSION" });
  }
  const age = span(session.outside.now() - plan.createdAt);
  session.remark(`plan ${plan.id.slice(0, 12)} to ${plan.to}, made by ${plan.createdBy} ${age} ago`);
  return plan.id;
}
