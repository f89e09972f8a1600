import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { userLines, userListing, whoamiLines } from "../render/user.js";

export const userList: CommandSpec = {
  name: "list",
  summary: "list everybody who may sign in",
  examples: ["belay user list"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.users(), userListing);
    return EXIT.ok;
  },
};

export const userShow: CommandSpec = {
  name: "show <name>",
  summary: "show one user: roles, groups, how they sign in",
  examples: ["belay user show ann"],
  async run(session, _options, [name = ""]) {
    const { api } = await session.connect();
    session.answer(await api.user(name), userLines);
    return EXIT.ok;
  },
};

export const whoami: CommandSpec = {
  name: "whoami",
  summary: "who belayd takes you for, and what you may do",
  examples: ["belay whoami", "belay whoami --json"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.whoami(), whoamiLines);
    return EXIT.ok;
  },
};
