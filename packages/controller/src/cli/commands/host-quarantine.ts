import { BelayError } from "@belay/shared";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

interface AsideOptions {
  readonly reason?: string;
}

export const hostQuarantine: CommandSpec<AsideOptions> = {
  name: "quarantine <host>",
  summary: "set a host aside, on record: plans leave it out, and runs that go on send it nothing more",
  options: [{ flags: "--reason <text>", about: "why; needed" }],
  examples: ['belay host quarantine db-7 --reason "no power until Monday"'],
  async run(session, { reason }, [host = ""]) {
    if (reason === undefined || reason.trim() === "") {
      throw new BelayError("reason-missing", "a host is set aside for a reason", { hint: "Say it: --reason TEXT" });
    }
    const { api } = await session.connect();
    session.answer(await api.setAside(host, "quarantine", { reason }), () => [`${host} is set aside`]);
    return EXIT.ok;
  },
};

export const hostRelease: CommandSpec<AsideOptions> = {
  name: "release <host>",
  summary: "take a host back that was set aside, if it missed nothing of a run that goes on",
  options: [{ flags: "--reason <text>", about: "why, for the record" }],
  examples: ["belay host release db-7"],
  async run(session, { reason }, [host = ""]) {
    const { api } = await session.connect();
    const command = reason === undefined ? {} : { reason };
    session.answer(await api.setAside(host, "release", command), () => [`${host} is back`]);
    return EXIT.ok;
  },
};
