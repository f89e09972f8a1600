import type { NewUser, UserChange } from "../../api/contract.js";
import { ROLES, type Role } from "../../people/roles.js";
import type { CommandSpec, OptionSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { userLines } from "../render/user.js";

interface UserOptions {
  readonly role?: readonly Role[];
  readonly group?: readonly string[];
  readonly again?: true;
}

const GROUP: OptionSpec = {
  flags: "--group <group...>",
  about: "a group they belong to, for gates that ask for one",
  list: true,
};
const ROLE_NOTES =
  "viewer looks. operator also plans, starts and steers runs, and answers failure gates. approver also approves and rejects\n" +
  "gates. admin may do everything, users and hosts' tokens included. Operators can't approve and approvers can't operate,\n" +
  "unless they have both roles.";

export const userCreate: CommandSpec<UserOptions & { readonly role: readonly Role[] }> = {
  name: "create <name>",
  summary: "let somebody in; give them a token with belay token create --user",
  options: [
    { flags: "--role <role...>", about: `what they may do: ${ROLES.join(", ")}`, required: true, list: true },
    GROUP,
    { flags: "--again", about: "somebody of this name was removed, and this is the same person" },
  ],
  notes: ROLE_NOTES,
  examples: ["belay user create ann --role operator approver --group sre", "belay user create ci --role operator"],
  async run(session, { role, group, again }, [name = ""]) {
    const { api } = await session.connect();
    const user: NewUser = {
      name,
      roles: role,
      ...(group === undefined ? {} : { groups: group }),
      ...(again === undefined ? {} : { again }),
    };
    session.answer(await api.createUser(user), userLines);
    return EXIT.ok;
  },
};

export const userSet: CommandSpec<UserOptions> = {
  name: "set <name>",
  summary: "give somebody these roles or groups in place of those they have",
  options: [
    { flags: "--role <role...>", about: `what they may do: ${ROLES.join(", ")}`, list: true },
    GROUP,
    { flags: "--no-groups", about: "take all their groups away" },
  ],
  notes: `${ROLE_NOTES}\n\nAn approval of somebody who may not give it any more stops counting at a gate that is still open.`,
  examples: ["belay user set ann --role viewer", "belay user set ann --group sre,dba"],
  async run(session, { role, group, groups }: UserOptions & { readonly groups?: boolean }, [name = ""]) {
    const { api } = await session.connect();
    const change: UserChange = {
      ...(role === undefined ? {} : { roles: role }),
      ...(group === undefined ? {} : { groups: group }),
      ...(groups === false ? { groups: [] } : {}),
    };
    session.answer(await api.changeUser(name, change), userLines);
    return EXIT.ok;
  },
};

export const userRemove: CommandSpec = {
  name: "remove <name>",
  summary: "let somebody in no more: their tokens and sessions end, their approvals of open gates stop counting",
  notes: "Nobody else can have the name afterwards, because records speak of them by it.",
  examples: ["belay user remove ann"],
  async run(session, _options, [name = ""]) {
    const { api } = await session.connect();
    session.answer(await api.removeUser(name), () => [`${name} is removed`]);
    return EXIT.ok;
  },
};
