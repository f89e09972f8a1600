import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { backupListing } from "./backup-list.js";

export const backupVerify: CommandSpec = {
  name: "verify <host> <backup>",
  summary: "ask a host to read a backup back, every byte of it",
  examples: ["belay backup verify auth-1 20261123-201500-3f9c7a.hop-1"],
  async run(session, _options, [host = "", backup = ""]) {
    const { api } = await session.connect();
    session.answer(await api.verifyBackup(host, backup), (view) => backupListing([view]));
    return EXIT.ok;
  },
};
