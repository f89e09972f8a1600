import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { gateListing } from "../render/gate.js";

interface ListOptions {
  readonly all?: true;
  readonly run?: string;
}

export const gateList: CommandSpec<ListOptions> = {
  name: "list",
  summary: "list the gates that are open now",
  options: [
    { flags: "--all", about: "every gate, passed and to come" },
    { flags: "--run <run>", about: "of this run (with --all, default: the newest)" },
  ],
  examples: ["belay gate list", "belay gate list --all --run latest"],
  async run(session, { all, run }) {
    const { api } = await session.connect();
    const filter = all ? { all: true, run: run ?? "latest" } : run === undefined ? {} : { run };
    session.answer(await api.gates(filter), (gates) => gateListing(gates, session.outside.now()));
    return EXIT.ok;
  },
};
