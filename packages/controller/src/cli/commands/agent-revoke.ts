import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

export const agentRevoke: CommandSpec<{ readonly reason: string }> = {
  name: "revoke <host>",
  summary:
    "end a host's identity at once and for ever: its connections are cut, and none of its certificates counts any more",
  options: [{ flags: "--reason <text>", about: "why, for the record", required: true }],
  notes: "The host's service goes on. To come back, the host joins again with a new token: belay agent token create.",
  examples: ['belay agent revoke db-7 --reason "stolen disk"'],
  async run(session, { reason }, [host = ""]) {
    const { api } = await session.connect();
    session.answer(await api.revokeIdentity(host, { reason }), () => [`identity of ${host} revoked`]);
    return EXIT.ok;
  },
};
