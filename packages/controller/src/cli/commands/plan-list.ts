import type { PlanSummary } from "../../api/contract.js";
import { type CommandSpec, LIMIT } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime } from "../render/measure.js";
import { listing } from "../render/text.js";

export const planList: CommandSpec<{ readonly limit: number }> = {
  name: "list",
  summary: "list saved plans, the newest first",
  options: [LIMIT],
  examples: ["belay plan list", "belay plan list --limit 5 --json"],
  async run(session, { limit }) {
    const { api } = await session.connect();
    session.answer(await api.plans(limit), planListing);
    return EXIT.ok;
  },
};

function planListing(plans: readonly PlanSummary[]): string[] {
  return listing(
    ["PLAN", "KIND", "TO", "HOPS", "HOSTS", "MADE", "BY"],
    plans.map((plan) => [
      plan.id.slice(0, 12),
      plan.kind,
      plan.to,
      String(plan.hops),
      String(plan.hosts),
      dateTime(plan.createdAt),
      plan.createdBy,
    ]),
    "no plan yet: belay plan --to VERSION",
  );
}
