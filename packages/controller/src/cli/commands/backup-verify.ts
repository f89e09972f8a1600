import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { backupListing } from "./backup-list.js";

interface VerifyOptions {
  readonly copy?: true;
}

export const backupVerify: CommandSpec<VerifyOptions> = {
  name: "verify <host> <backup>",
  summary: "ask a host to read a backup back, every byte of it",
  options: [{ flags: "--copy", about: "read the copy back that left the host, in place of the host's own" }],
  notes:
    "A copy is fetched, opened and read by its host. While the host is away, or has no key to an encrypted copy, belayd reads\n" +
    "the copy and compares its bytes with what was stored.",
  examples: [
    "belay backup verify auth-1 20261123-201500-3f9c7a04b1.hop-1.auth-1",
    "belay backup verify auth-1 20261123-201500-3f9c7a04b1.hop-1.auth-1 --copy",
  ],
  async run(session, { copy }, [host = "", backup = ""]) {
    const { api } = await session.connect();
    session.answer(await api.verifyBackup(host, backup, copy ?? false), (view) => backupListing([view]));
    return EXIT.ok;
  },
};
