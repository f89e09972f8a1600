import { BelayError } from "@belay/shared";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Outside } from "./outside.js";
import { type CommonOptions, Session } from "./session.js";

/** One command as data: what it is called, what help says of it, and what it does. */
export interface CommandSpec<O extends object = object> {
  /** With its arguments, as commander writes them: `show [run]`. */
  readonly name: string;
  readonly summary: string;
  readonly options?: readonly OptionSpec[];
  /** What needs more than a line: rules, exit codes. */
  readonly notes?: string;
  /** Whole command lines; docs and tests use them too. */
  readonly examples: readonly string[];
  /** Answers with an exit code. `args` are the arguments that were given, in order. */
  run(session: Session, options: O, args: readonly string[]): Promise<number>;
}

export interface OptionSpec {
  readonly flags: string;
  readonly about: string;
  readonly required?: true;
  /** May be repeated, and each value may name several with commas between. */
  readonly list?: true;
  /** A whole number of this size at most. */
  readonly most?: number;
  readonly choices?: readonly string[];
  readonly default?: string | number;
}

/** For lists that grow for ever. */
export const LIMIT: OptionSpec = { flags: "--limit <count>", about: "how many at most", most: 1_000, default: 50 };

/** Commands with a word in common. `own` is what the word alone does. */
export interface GroupSpec {
  readonly name: string;
  readonly summary: string;
  readonly own?: CommandSpec;
  readonly commands: readonly CommandSpec[];
  readonly groups?: readonly GroupSpec[];
}

/** How a command reaches the world, and where its exit code goes. */
export interface Ending {
  readonly outside: Outside;
  end(code: number): void;
}

const COMMON: readonly OptionSpec[] = [
  { flags: "--json", about: "answer in JSON, errors too (on stderr)" },
  { flags: "--server <url>", about: "belayd's address (BELAY_SERVER; default http://127.0.0.1:7440)" },
  { flags: "--token-file <file>", about: "file with the API token (BELAY_TOKEN_FILE, BELAY_TOKEN)" },
];

export function makeGroup(spec: GroupSpec, ending: Ending): Command {
  const group = spec.own === undefined ? new Command(spec.name) : makeCommand(spec.own, ending);
  // So that `plan` and `plan lint` may both have a --fleet.
  group.summary(spec.summary).enablePositionalOptions();
  if (spec.own === undefined) group.description(spec.summary);
  for (const command of spec.commands) group.addCommand(makeCommand(command, ending));
  for (const inner of spec.groups ?? []) group.addCommand(makeGroup(inner, ending));
  return group;
}

export function makeCommand(spec: CommandSpec, { outside, end }: Ending): Command {
  const [name = "", ...args] = spec.name.split(" ");
  const command = new Command(name).summary(spec.summary).description(`${capital(spec.summary)}.`);
  for (const arg of args) command.argument(arg);
  for (const option of spec.options ?? []) command.addOption(makeOption(option));
  for (const option of COMMON) command.addOption(makeOption(option).helpGroup("Common options:"));
  if (spec.notes !== undefined) command.addHelpText("after", `\n${spec.notes}`);
  command.addHelpText("after", `\nExamples:\n${spec.examples.map((line) => `  $ ${line}`).join("\n")}`);
  return command.action(async () => {
    const options = command.opts<CommonOptions>();
    // Not commander's own check: that would ask for --to of `belay plan` when somebody types `belay plan lint`.
    checkRequired(spec, options);
    end(await spec.run(new Session(outside, options), options, command.args));
  });
}

function checkRequired({ options = [] }: CommandSpec, given: object): void {
  for (const { flags, required } of options) {
    if (!required || new Option(flags).attributeName() in given) continue;
    throw new BelayError("usage", `required option '${flags}' not specified`, {
      hint: "--help shows how.",
    });
  }
}

function makeOption(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.required ? `${spec.about} (needed)` : spec.about);
  if (spec.choices !== undefined) option.choices(spec.choices);
  if (spec.default !== undefined) option.default(spec.default);
  if (spec.list) {
    option.argParser((value: string, before: readonly string[] | undefined) => [
      ...(before ?? []),
      ...value.split(",").filter((item) => item !== ""),
    ]);
  }
  const { most } = spec;
  if (most !== undefined) {
    option.argParser((value: string) => {
      const count = Number(value);
      if (Number.isInteger(count) && count >= 1 && count <= most) return count;
      throw new InvalidArgumentError(`It is a whole number from 1 to ${most}.`);
    });
  }
  return option;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
