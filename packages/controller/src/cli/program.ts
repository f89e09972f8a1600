import { Command, CommanderError } from "commander";
import { type Ending, makeCommand, makeGroup } from "./command.js";
import { GROUPS, SINGLES } from "./commands/index.js";
import { completionCommand } from "./completion/command.js";
import { EXIT } from "./exit.js";
import { reportFailure, usageError } from "./failure.js";
import type { Outside } from "./outside.js";

const ABOUT = [
  "Takes a fleet up one safe step at a time: plan, start, approve at the gates, and go back if you must.",
  "belay talks to belayd over HTTP. Where it is and how to get in: --server and --token-file, or BELAY_SERVER and " +
    "BELAY_TOKEN_FILE (or BELAY_TOKEN), or `server` and `tokenFile` in ~/.config/belay/config.yaml, or belay login.",
].join("\n\n");

const EXIT_CODES = `
Exit codes: 0 fine, 1 error. \`belay plan\`: 0 nothing to do, 2 changes, 1 blocked or error.
Following a run: 0 done, 1 error, aborted, denied or rolled back, 2 hosts failed, 4 hosts unreachable,
3 waiting at a gate (with --exit-at-gate); a failure gate counts as 2 or 4.`;

/** The whole command line as commander's tree. Nothing happens until it is given arguments. */
export function makeProgram(version: string, ending: Ending): Command {
  const program = new Command("belay")
    .description(ABOUT)
    .version(version)
    .enablePositionalOptions()
    .addHelpText("after", EXIT_CODES);
  for (const group of GROUPS) program.addCommand(makeGroup(group, ending));
  for (const single of SINGLES) program.addCommand(makeCommand(single, ending));
  program.addCommand(completionCommand(program, ending), { hidden: true });
  everyCommand(program, (command) => {
    command
      .exitOverride()
      .configureOutput({
        writeOut: (text) => ending.outside.out.write(text),
        writeErr: (text) => ending.outside.err.write(text),
        // It comes as a CommanderError too, and is said once, in our own words.
        outputError: () => {},
        getOutHelpWidth: () => ending.outside.out.columns,
        getErrHelpWidth: () => ending.outside.err.columns,
      })
      .helpCommand(false);
  });
  return program;
}

/** Runs one command line (without node and script) to its exit code. Never throws; every failure is said on stderr. */
export async function runCli(args: readonly string[], version: string, outside: Outside): Promise<number> {
  let code: number = EXIT.ok;
  const program = makeProgram(version, {
    outside,
    end: (with_) => {
      code = with_;
    },
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.ok;
    if (thrown instanceof CommanderError && thrown.code === "commander.help") return EXIT.error;
    const error = thrown instanceof CommanderError ? usageError(thrown, commandMeant(program, args)) : thrown;
    reportFailure(error, outside, args.includes("--json"));
    return EXIT.error;
  }
}

/** `belay run start`: as far as the words name commands, so that a hint points at the right help. */
function commandMeant(program: Command, args: readonly string[]): string {
  let command = program;
  const words = [command.name()];
  for (const arg of args) {
    const next = command.commands.find((candidate) => candidate.name() === arg);
    if (next === undefined) break;
    command = next;
    words.push(arg);
  }
  return words.join(" ");
}

function everyCommand(command: Command, change: (command: Command) => void): void {
  change(command);
  for (const child of command.commands) everyCommand(child, change);
}
