import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { waitLines } from "../render/wait.js";
import { pageOf } from "../watch/display.js";

export const why: CommandSpec = {
  name: "why [run]",
  summary: "what a run (default: the newest) waits for, since when, and what would unblock it",
  examples: ["belay why", "belay why 20261123-201500-3f9c7a --json"],
  async run(session, _options, [run = "latest"]) {
    const { api } = await session.connect();
    session.answer(await api.why(run), ({ waits }) =>
      waits.length === 0 ? ["it waits for nothing"] : waitLines(waits, pageOf(session)),
    );
    return EXIT.ok;
  },
};
