import { BelayError } from "@belay/shared";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { releaseLines } from "../render/release.js";

export const releaseBlock = judge("block", {
  summary: "keep a release out of every plan, for a reason",
  examples: ['belay release block 6.2.30 --reason "breaks access for older agents"'],
});

export const releaseUnblock = judge("unblock", {
  summary: "let a release into plans again",
  examples: ["belay release unblock 6.2.30"],
});

export const releaseClear = judge("clear", {
  summary: "a release is no longer suspect, though a fleet was rolled back from it",
  examples: ['belay release clear 7.1.0 --reason "it was the disk"'],
});

function judge(
  verb: "block" | "unblock" | "clear",
  { summary, examples }: Pick<CommandSpec, "summary" | "examples">,
): CommandSpec<{ readonly reason?: string }> {
  return {
    name: `${verb} <version>`,
    summary,
    options: [{ flags: "--reason <text>", about: verb === "block" ? "why; needed" : "why, for the record" }],
    examples,
    async run(session, { reason }, [version = ""]) {
      if (verb === "block" && (reason === undefined || reason.trim() === "")) {
        throw new BelayError("reason-missing", "a release is blocked for a reason", { hint: "Say it: --reason TEXT" });
      }
      const { api } = await session.connect();
      const command = reason === undefined ? {} : { reason };
      session.answer(await api.judgeRelease(version.replace(/^v/, ""), verb, command), (view) =>
        releaseLines(view, session.style),
      );
      return EXIT.ok;
    },
  };
}
