import { renderPlan } from "../../plan/render.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { linesOf } from "../render/text.js";

export const planShow: CommandSpec = {
  name: "show <plan>",
  summary: "show a saved plan; the beginning of its id will do",
  examples: ["belay plan show 3f9c41d2e0aa", "belay plan show 3f9c --json > plan.json"],
  async run(session, _options, [plan = ""]) {
    const { api } = await session.connect();
    session.answer(await api.plan(plan), (view) => linesOf(renderPlan(view)));
    return EXIT.ok;
  },
};
