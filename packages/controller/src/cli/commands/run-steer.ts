import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { statusText } from "../render/run.js";

export const runPause = steer("pause", {
  summary: "send nothing more; what is in flight ends by itself",
  examples: ['belay run pause --reason "lunch"'],
});

export const runResume = steer("resume", {
  summary: "go on with a paused run",
  examples: ["belay run resume"],
});

export const runAbort = steer("abort", {
  summary: "end a run where it is, once nothing is in flight; hosts stay as they are",
  examples: ['belay run abort --reason "wrong plan"'],
});

/** Commands that take a run (default: the newest) and a reason, and answer with how the run stands then. */
function steer(
  verb: "pause" | "resume" | "abort",
  { summary, examples }: Pick<CommandSpec, "summary" | "examples">,
): CommandSpec<{ readonly reason?: string }> {
  return {
    name: `${verb} [run]`,
    summary,
    options: [{ flags: "--reason <text>", about: "why, for the record" }],
    examples,
    async run(session, { reason }, [run = "latest"]) {
      const { api } = await session.connect();
      const command = reason === undefined ? {} : { reason };
      session.answer(await api.steer(run, verb, command), (view) => [
        `run ${view.id} is ${statusText(view, session.style)}${
          view.inFlightTotal > 0 && verb !== "resume" ? `, ${view.inFlightTotal} in flight` : ""
        }`,
      ]);
      return EXIT.ok;
    },
  };
}
