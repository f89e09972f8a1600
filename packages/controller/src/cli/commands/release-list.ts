import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { releaseListing } from "../render/release.js";

export const releaseList: CommandSpec = {
  name: "list",
  summary: "list the releases that belayd knows",
  examples: ["belay release list", "belay release list --json"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.releases(), (releases) => releaseListing(releases, session.style));
    return EXIT.ok;
  },
};
