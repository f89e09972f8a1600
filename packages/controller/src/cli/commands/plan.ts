import { BelayError } from "@belay/shared";
import type { PlanAnswer } from "../../api/contract.js";
import { renderBlocked, renderPlan } from "../../plan/render.js";
import { planJson } from "../../plan/report.js";
import { acceptedRisks, RISK_OPTIONS, type RiskOptions } from "../accept-risk.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { linesOf } from "../render/text.js";
import type { Session } from "../session.js";

interface PlanOptions extends RiskOptions {
  readonly to: string;
  readonly via?: readonly string[];
  readonly quarantine?: readonly string[];
  readonly cluster?: readonly string[];
  readonly limit?: readonly string[];
  readonly fleet?: string;
  readonly facts?: string;
  readonly releases?: string;
}

export const plan: CommandSpec<PlanOptions> = {
  name: "plan",
  summary: "plan an upgrade: every hop, stage, batch and gate, or every reason why not",
  options: [
    { flags: "--to <version>", about: "the version to reach", required: true },
    { flags: "--via <version...>", about: "stop here on the way, in place of the newest release", list: true },
    ...RISK_OPTIONS,
    { flags: "--quarantine <host...>", about: "leave these hosts aside", list: true },
    { flags: "--cluster <name...>", about: "only these clusters", list: true },
    { flags: "--limit <host...>", about: "only these hosts", list: true },
    { flags: "--fleet <file>", about: "plan from files, without belayd: fleet.yaml" },
    { flags: "--facts <file>", about: "from files: facts.json" },
    { flags: "--releases <file>", about: "from files: releases.yaml" },
  ],
  notes:
    "Exit codes: 0 nothing to do, 2 changes, 1 blocked or error. belayd saves a plan with changes; one that was made from\n" +
    "files is only printed.",
  examples: [
    "belay plan --to 7.1.0",
    "belay plan --to 7.1.0 --via 6.2.31 --cluster main eu",
    'belay plan --to 7.1.0 --accept-risk left-behind:db-7 --why "decommissioned next week"',
    "belay plan --to 7.1.0 --fleet fleet.yaml --facts facts.json --releases releases.yaml --json",
  ],
  async run(session, options) {
    const answer = isOffline(options) ? await planOffline(session, options) : await planOnline(session, options);
    return showPlanAnswer(session, answer);
  },
};

/** Shows what planning answered; the exit code is that of `belay plan`. */
export function showPlanAnswer(session: Session, answer: PlanAnswer): number {
  if (!answer.ok) {
    session.answer(planJson(answer), () => linesOf(renderBlocked(answer)));
    return EXIT.error;
  }
  session.answer(planJson(answer), () => linesOf(renderPlan(answer.plan)));
  return answer.changes ? EXIT.changes : EXIT.ok;
}

async function planOnline(session: Session, options: PlanOptions): Promise<PlanAnswer> {
  const acceptRisks = acceptedRisks(options);
  const { api } = await session.connect();
  return api.makePlan({
    to: options.to,
    ...(options.via === undefined ? {} : { via: options.via }),
    acceptRisks,
    ...(options.quarantine === undefined ? {} : { quarantine: options.quarantine }),
    ...(options.cluster === undefined ? {} : { clusters: options.cluster }),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  });
}

async function planOffline(session: Session, options: PlanOptions): Promise<PlanAnswer> {
  const { fleet, facts, releases } = options;
  if (fleet === undefined || facts === undefined || releases === undefined) {
    throw new BelayError("usage", "to plan without belayd, all three files are needed", {
      hint: "Give --fleet, --facts and --releases, or none of them.",
    });
  }
  const { planFromFiles } = await import("./plan-offline.js");
  const by = session.user;
  const result = await planFromFiles({
    fleet,
    facts,
    releases,
    to: options.to,
    via: options.via ?? [],
    acceptRisks: acceptedRisks(options).map((risk) => ({ ...risk, by })),
    quarantine: options.quarantine ?? [],
    clusters: options.cluster ?? [],
    limit: options.limit ?? [],
    by,
  });
  return result.ok ? { ...result, changes: result.plan.hops.length > 0 } : result;
}

function isOffline({ fleet, facts, releases }: PlanOptions): boolean {
  return fleet !== undefined || facts !== undefined || releases !== undefined;
}
