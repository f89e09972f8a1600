import type { Command } from "commander";

/** One command as completion sees it: what may follow it. */
export interface Completed {
  /** `belay run start` */
  readonly path: string;
  readonly commands: readonly { name: string; about: string }[];
  readonly options: readonly CompletedOption[];
}

export interface CompletedOption {
  /** `--scope` */
  readonly flag: string;
  readonly about: string;
  /** What comes behind it. */
  readonly takes: "nothing" | "a file" | "a value";
  readonly choices: readonly string[];
}

/** Every command that help shows, the program itself first. */
export function completedCommands(program: Command): Completed[] {
  return below(program, program.name());
}

/** Every option that a value follows: what comes behind one names no command. */
export function flagsWithValues(commands: readonly Completed[]): string[] {
  const flags = commands.flatMap(({ options }) => options.filter(({ takes }) => takes !== "nothing"));
  return [...new Set(flags.map(({ flag }) => flag))].sort();
}

function below(command: Command, path: string): Completed[] {
  const help = command.createHelp();
  const children = help.visibleCommands(command);
  return [
    {
      path,
      commands: children.map((child) => ({ name: child.name(), about: child.summary() || child.description() })),
      options: help.visibleOptions(command).flatMap((option) => {
        if (option.long === undefined || option.long === null) return [];
        const takes =
          !option.required && !option.optional ? "nothing" : /<file/.test(option.flags) ? "a file" : "a value";
        return [{ flag: option.long, about: option.description, takes, choices: option.argChoices ?? [] } as const];
      }),
    },
    ...children.flatMap((child) => below(child, `${path} ${child.name()}`)),
  ];
}
