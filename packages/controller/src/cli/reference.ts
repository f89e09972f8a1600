import type { CommandSpec, GroupSpec, OptionSpec } from "./command.js";
import { GROUPS, SINGLES } from "./commands/index.js";

/** docs/cli.md: every command with its options, notes and examples. A test holds the file against this. */
export function cliReference(): string {
  return [
    "# The command line",
    "",
    "<!-- Written from the commands themselves: UPDATE_DOCS=1 npx tap run test/cli/reference.test.ts -->",
    "",
    ...INTRODUCTION,
    ...GROUPS.flatMap((group) => groupSection(group, ["belay"])),
    "## belay",
    "",
    ...SINGLES.flatMap((single) => commandSection(single, ["belay"])),
  ].join("\n");
}

const INTRODUCTION = [
  "`belay` talks to belayd over HTTP. It finds it, and the way in, by flags, then the environment, then",
  "`~/.config/belay/config.yaml` (`server`, `tokenFile`):",
  "",
  "| option | environment | meaning |",
  "|---|---|---|",
  "| `--server URL` | `BELAY_SERVER` | belayd's address; default `http://127.0.0.1:7440` |",
  "| `--token-file FILE` | `BELAY_TOKEN_FILE`, or the token itself in `BELAY_TOKEN` | an API token; without one, what `belay login` keeps in `~/.config/belay/token` |",
  '| `--json` | | answer in JSON; errors too, on stderr, as `{"error": {"code", "message", "hint"}}` |',
  "| | `NO_COLOR` | no colours, also on a terminal |",
  "| | `BELAY_DEBUG=1` | errors with their stack |",
  "",
  "A `RUN` may be the beginning of its id, or `latest`, which is what is meant when it is left out. A `PLAN` may be the",
  "beginning of its id. A `GATE` may be left out when a single one is open.",
  "",
  "With `--json` a command answers with what belayd answered, which `packages/controller/src/api/contract.ts` describes",
  "field by field; `belay plan` with the whole plan and `blocked`.",
  "",
  "## Exit codes",
  "",
  "| code | `belay plan` | following a run | all others |",
  "|---|---|---|---|",
  "| 0 | nothing to do | done | fine |",
  "| 1 | blocked, or an error | an error; aborted, denied or rolled back | an error; `plan lint`: findings |",
  "| 2 | changes | hosts failed; also left at a failure gate (`--exit-at-gate`, `--exit-at-failure`) | |",
  "| 3 | | waiting at a gate, with `--exit-at-gate` | |",
  "| 4 | | as 2, with hosts that can't be reached among them | |",
  "| 130 | | Ctrl-C; the run goes on | |",
  "",
];

function groupSection(group: GroupSpec, above: readonly string[]): string[] {
  const path = [...above, group.name];
  return [
    `## ${path.join(" ")}`,
    "",
    `${sentence(group.summary)}`,
    "",
    ...(group.own === undefined ? [] : commandSection(group.own, above)),
    ...group.commands.flatMap((command) => commandSection(command, path)),
    ...(group.groups ?? []).flatMap((inner) => groupSection(inner, path)),
  ];
}

function commandSection(command: CommandSpec, above: readonly string[]): string[] {
  const { options = [] } = command;
  return [
    `### ${[...above, command.name].join(" ")}`,
    "",
    sentence(command.summary),
    "",
    ...(options.length === 0 ? [] : ["| option | |", "|---|---|", ...options.map(optionRow), ""]),
    ...(command.notes === undefined ? [] : [command.notes, ""]),
    "```",
    ...command.examples.map((example) => `$ ${example}`),
    "```",
    "",
  ];
}

function optionRow({ flags, about, required, default: value, choices }: OptionSpec): string {
  const remarks = [
    ...(required ? ["needed"] : []),
    ...(choices === undefined ? [] : [`one of ${choices.join(", ")}`]),
    ...(value === undefined ? [] : [`default ${value}`]),
  ];
  return `| \`${flags}\` | ${about}${remarks.length === 0 ? "" : ` (${remarks.join("; ")})`} |`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
