import { open, unlink } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

interface CreateOptions {
  readonly host: string;
  readonly out?: string;
}

export const tokenCreate: CommandSpec<CreateOptions> = {
  name: "create",
  summary: "make a host's token for joining; an earlier one of this host ends",
  options: [
    { flags: "--host <host>", about: "the host's name, as the fleet declares it", required: true },
    { flags: "--out <file>", about: "write it to this new file, readable by you alone" },
  ],
  notes: "The token is shown once; belayd keeps only a digest.",
  examples: ["belay agent token create --host auth-1 --out token", "belay agent token create --host auth-1 --json"],
  async run(session, { host, out }) {
    const { api } = await session.connect();
    if (out === undefined) {
      session.answer(await api.createToken(host), ({ token }) => [token]);
      return EXIT.ok;
    }
    // First the file: a token that can't be kept would have ended the earlier one for nothing.
    const file = await open(out, "wx", 0o600).catch((cause: unknown) => {
      throw new BelayError("file-not-writable", `cannot make ${out}: ${(cause as Error).message}`, {
        hint: "It must not exist yet, in a folder you may write to.",
        cause,
      });
    });
    try {
      await file.writeFile(`${(await api.createToken(host)).token}\n`);
    } catch (error) {
      await unlink(out);
      throw error;
    } finally {
      await file.close();
    }
    session.answer({ host, file: out }, () => [`token of ${host} written to ${out}`]);
    return EXIT.ok;
  },
};
