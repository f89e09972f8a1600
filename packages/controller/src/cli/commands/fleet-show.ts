import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { fleetLines } from "../render/fleet.js";

export const fleetShow: CommandSpec = {
  name: "show",
  summary: "show the fleet as belayd has it",
  examples: ["belay fleet show"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.fleet(), fleetLines);
    return EXIT.ok;
  },
};
