import { BelayError } from "@belay/shared";
import type { PlanRequest } from "../../api/contract.js";
import type { Amount } from "../../inventory/fleet.js";
import { acceptedRisks, RISK_OPTIONS, type RiskOptions } from "../accept-risk.js";
import type { CommandSpec } from "../command.js";
import { type WatchOptions, watchRun } from "../watch/watch.js";
import { showPlanAnswer } from "./plan.js";
import { WATCH_OPTIONS, wantsWatching } from "./run-watch.js";

interface UpgradeOptions extends WatchOptions, RiskOptions {
  readonly to: string;
  readonly cluster?: readonly string[];
  readonly limit?: readonly string[];
  readonly quarantine?: readonly string[];
  readonly canary?: number;
  readonly batch?: readonly string[];
  readonly watch?: true;
}

export const agentUpgrade: CommandSpec<UpgradeOptions> = {
  name: "upgrade",
  summary: "plan an upgrade of the agents themselves; with --watch, carry it out and follow it",
  options: [
    {
      flags: "--to <version>",
      about: "the version to reach; belay release add knows belay-agent-v*.tar.gz",
      required: true,
    },
    { flags: "--cluster <name...>", about: "only these clusters", list: true },
    { flags: "--limit <host...>", about: "only these hosts", list: true },
    { flags: "--quarantine <host...>", about: "leave these hosts aside", list: true },
    { flags: "--canary <count>", about: "so many go first (default: the fleet's policy for nodes)", most: 100_000 },
    {
      flags: "--batch <size...>",
      about: "batch sizes after the canary, such as 5 or 20%; the last repeats",
      list: true,
    },
    ...RISK_OPTIONS,
    { flags: "--watch", about: "start the run and follow it to its end" },
    ...WATCH_OPTIONS,
  ],
  notes:
    "Every host counts as a node, and none is taken out of service: only its agent is replaced. An agent that does not come\n" +
    "back returns to its old version by itself within a minute; the run then stops at a failure gate, as any other does, and\n" +
    "belay run rollback goes back. While it lasts no other run holds these clusters.\n\n" +
    "Exit codes: 0 nothing to do, 2 changes, 1 blocked or error; when following, those of belay run watch.",
  examples: [
    "belay agent upgrade --to 0.2.0",
    "belay agent upgrade --to 0.2.0 --cluster main --canary 2 --batch 20% --watch",
  ],
  async run(session, options) {
    const { api } = await session.connect();
    const answer = await api.makePlan(requestOf(options));
    if (!answer.ok || !answer.changes || !(options.watch || wantsWatching(options))) {
      return showPlanAnswer(session, answer);
    }
    const run = await api.startRun({ plan: answer.plan.id, check: false });
    session.remark(`run ${run.id} started`);
    return watchRun(session, api, run.id, options);
  },
};

function requestOf(options: UpgradeOptions): PlanRequest {
  const { cluster, limit, quarantine, canary } = options;
  const batch = options.batch === undefined ? undefined : batchOf(options.batch);
  return {
    product: "belay-agent",
    to: options.to.replace(/^v/, ""),
    acceptRisks: acceptedRisks(options),
    ...(cluster === undefined ? {} : { clusters: cluster }),
    ...(limit === undefined ? {} : { limit }),
    ...(quarantine === undefined ? {} : { quarantine }),
    rollout: { ...(canary === undefined ? {} : { canary }), ...(batch === undefined ? {} : { batch }) },
  };
}

function batchOf(sizes: readonly string[]): [Amount, ...Amount[]] {
  const [first, ...rest] = sizes.map(amountOf);
  if (first === undefined) throw new BelayError("usage", "--batch names no size", { hint: "Such as --batch 5 20%" });
  return [first, ...rest];
}

function amountOf(text: string): Amount {
  const percent = /^([0-9]{1,3})%$/.exec(text)?.[1];
  if (percent !== undefined && Number(percent) <= 100) return `${Number(percent)}%`;
  if (/^[1-9][0-9]{0,5}$/.test(text)) return Number(text);
  throw new BelayError("usage", `--batch ${text} is neither a count nor a share`, { hint: "Such as --batch 5 20%" });
}
