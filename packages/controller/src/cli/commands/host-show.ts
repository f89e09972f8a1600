import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { hostLines } from "../render/host.js";
import { pageOf } from "../watch/display.js";

export const hostShow: CommandSpec = {
  name: "show <host>",
  summary: "show what is known of a host",
  examples: ["belay host show auth-1"],
  async run(session, _options, [host = ""]) {
    const { api } = await session.connect();
    session.answer(await api.host(host), (view) => hostLines(view, pageOf(session)));
    return EXIT.ok;
  },
};
