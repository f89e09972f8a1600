import { BelayError } from "@belay/shared";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { statusText } from "../render/run.js";

interface AnswerOptions {
  readonly host?: readonly string[];
  readonly reason?: string;
}

export const runRetry = answer("retry", {
  summary: "at a failure gate: try the failed hosts again",
  examples: ["belay run retry", 'belay run retry --host node-2 --reason "disk was full"'],
});

export const runSkip = answer("skip", {
  summary: "at a failure gate: set the failed hosts aside (quarantine) and go on",
  examples: ['belay run skip --host node-2 --reason "to be rebuilt"'],
});

function answer(
  verb: "retry" | "skip",
  { summary, examples }: Pick<CommandSpec, "summary" | "examples">,
): CommandSpec<AnswerOptions> {
  return {
    name: `${verb} [run]`,
    summary,
    options: [
      { flags: "--host <host,...>", about: "only these; default: all that failed", list: true },
      { flags: "--reason <text>", about: verb === "skip" ? "why; needed" : "why, for the record" },
    ],
    examples,
    async run(session, { host, reason }, [run = "latest"]) {
      if (verb === "skip" && (reason === undefined || reason.trim() === "")) {
        throw new BelayError("reason-missing", "a host is set aside for a reason", { hint: "Say it: --reason TEXT" });
      }
      const { api } = await session.connect();
      const command = {
        ...(reason === undefined ? {} : { reason }),
        ...(host === undefined ? {} : { hosts: host }),
      };
      session.answer(await api.answerFailure(run, verb, command), (view) => [
        `run ${view.id} is ${statusText(view, session.style)}`,
      ]);
      return EXIT.ok;
    },
  };
}
