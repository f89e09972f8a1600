import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

export const tokenRevoke: CommandSpec = {
  name: "revoke <host>",
  summary: "take back a host's token that was not used yet",
  examples: ["belay agent token revoke db-7"],
  async run(session, _options, [host = ""]) {
    const { api } = await session.connect();
    session.answer(await api.revokeToken(host), () => [`token of ${host} revoked`]);
    return EXIT.ok;
  },
};
