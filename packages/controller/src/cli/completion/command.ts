import { Argument, Command } from "commander";
import type { Ending } from "../command.js";
import { EXIT } from "../exit.js";
import { bashCompletion } from "./bash.js";
import { fishCompletion } from "./fish.js";
import { completedCommands } from "./tree.js";
import { zshCompletion } from "./zsh.js";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

/** `belay completion SHELL` prints that shell's script, made from the command tree itself: packages and people install it. */
export function completionCommand(program: Command, { outside, end }: Ending): Command {
  return new Command("completion")
    .description("Print a completion script for a shell.")
    .addArgument(new Argument("<shell>").choices(Object.keys(SHELLS)))
    .action((shell: keyof typeof SHELLS) => {
      outside.out.write(SHELLS[shell](completedCommands(program)));
      end(EXIT.ok);
    });
}
