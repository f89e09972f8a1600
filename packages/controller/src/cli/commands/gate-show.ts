import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { gateLines } from "../render/gate.js";
import { pageOf } from "../watch/display.js";
import { findGate } from "./gate-target.js";

export const gateShow: CommandSpec<{ readonly run?: string }> = {
  name: "show [run] [gate]",
  summary: "show a gate with its evidence; without names, the one that is open",
  options: [{ flags: "--run <run>", about: "the run it belongs to" }],
  examples: ["belay gate show", "belay gate show hop-1.main.auth", "belay gate show latest hop-1.main.auth --json"],
  async run(session, options, args) {
    const { api } = await session.connect();
    const { run, gate } = await findGate(api, args, options.run);
    session.answer(await api.gate(run, gate), (view) => gateLines(view, pageOf(session)));
    return EXIT.ok;
  },
};
