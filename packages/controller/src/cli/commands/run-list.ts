import { type CommandSpec, LIMIT } from "../command.js";
import { EXIT } from "../exit.js";
import { runListing } from "../render/run.js";

export const runList: CommandSpec<{ readonly limit: number }> = {
  name: "list",
  summary: "list runs, the newest first",
  options: [LIMIT],
  examples: ["belay run list", "belay run list --limit 5 --json"],
  async run(session, { limit }) {
    const { api } = await session.connect();
    session.answer(await api.runs(limit), (runs) => runListing(runs, session.outside.now(), session.style));
    return EXIT.ok;
  },
};
