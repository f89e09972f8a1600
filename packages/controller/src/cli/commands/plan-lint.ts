import { renderFindings } from "../../plan/render.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { linesOf } from "../render/text.js";

interface LintOptions {
  readonly fleet: string;
  readonly facts: string;
}

export const planLint: CommandSpec<LintOptions> = {
  name: "lint <plan>",
  summary: "replay a plan (a file) on a model of the fleet and name every invariant it breaks",
  options: [
    { flags: "--fleet <file>", about: "fleet.yaml", required: true },
    { flags: "--facts <file>", about: "facts.json", required: true },
  ],
  notes: "Exit codes: 0 clean, 1 findings or error. Needs no belayd.",
  examples: ["belay plan lint plan.json --fleet fleet.yaml --facts facts.json"],
  async run(session, options, [file = ""]) {
    const { lintFiles } = await import("./plan-offline.js");
    const findings = await lintFiles(file, options.fleet, options.facts);
    session.answer({ findings }, () => linesOf(renderFindings(findings)));
    return findings.length === 0 ? EXIT.ok : EXIT.error;
  },
};
