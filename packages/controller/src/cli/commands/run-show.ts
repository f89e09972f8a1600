import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { recapLines } from "../render/recap.js";
import { runLines } from "../render/run.js";
import { pageOf } from "../watch/display.js";

export const runShow: CommandSpec<{ readonly recap?: true }> = {
  name: "show [run]",
  summary: "show a run (default: the newest) as it stands",
  options: [{ flags: "--recap", about: "a line a host, in place of the stages" }],
  examples: ["belay run show", "belay run show --recap", "belay run show 20261123-201500-3f9c7a --json"],
  async run(session, { recap }, [run = "latest"]) {
    const { api } = await session.connect();
    if (recap) session.answer(await api.recap(run), (answer) => recapLines(answer, session.style));
    else session.answer(await api.run(run), (view) => runLines(view, pageOf(session)));
    return EXIT.ok;
  },
};
