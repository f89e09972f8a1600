import { parseArgs } from "node:util";
import { BelayError } from "@belay/shared";
import { LOG_LEVELS, type LogLevel } from "../log.js";

export const HELP = `belay-agent: looks, fetches, backs up, swaps, checks and reverts on one host.

Usage:
  belay-agent [--config FILE] [--log-level LEVEL]   run until SIGTERM or SIGINT
  belay-agent check-config [--config FILE]          check the file, say what it allows, and end
  belay-agent join [--token-file FILE]              join by a token now; the agent does so by itself when it finds one
  belay-agent supervise [--config FILE]             keep an agent running, where there is no systemd to do it
  belay-agent rescue [--config FILE]                watch an upgrade of the agent, and go back if it does not hold
  belay-agent unmanage SERVICE [--config FILE]      make plain files of the links that Belay made for a service's programs, of
                                                    the version that is installed now; to be done with the agent stopped
  belay-agent checkpoint [--all] [--config FILE]    print the newest checkpoint of belayd's audit log that this host has seen;
                                                    --all: also of logs that it followed before
  belay-agent forget-lease [--config FILE]          forget which belayd led here last: whoever sends the next step does; to be
                                                    done with the agent stopped, by who knows that this is the right one
  belay-agent --version | --help

Options:
  --config FILE       default /etc/belay/agent.yaml
  --token-file FILE   for join: in place of agent.yaml's own
  --log-level LEVEL   ${LOG_LEVELS.join(", ")}; default info. Log lines are JSON, on stderr.
`;

/** Those that take no word of their own. */
const COMMANDS = ["check-config", "join", "supervise", "rescue", "checkpoint", "forget-lease"] as const;

/** What somebody asks of this program. */
export type Asked = { command: "help" } | { command: "version" } | Lasting | Question;

/** Ends when it is told to. `run` is what goes without a name. */
type Lasting = ({ command: "run" } | { command: "supervise" | "rescue" }) & Settings;

/** Looks, or does one thing, and ends. */
export type Question = (Named | { command: "unmanage"; service: string }) & Settings;
type Named = { command: "check-config" | "join" | "checkpoint" | "forget-lease" };

interface Settings {
  configFile: string;
  /** In place of agent.yaml's own. */
  tokenFile: string | undefined;
  all: boolean;
  /** As it was written: `readLevel` knows which there are. */
  logLevel: string;
}

/** Throws `usage`. */
export function readArguments(argv: string[]): Asked {
  const { values, positionals } = parse(argv);
  if (values.help) return { command: "help" };
  if (values.version) return { command: "version" };
  const { config: configFile, "token-file": tokenFile, all, "log-level": logLevel } = values;
  const settings = { configFile, tokenFile, all, logLevel };
  const [name, ...words] = positionals;
  if (name === undefined) return { command: "run", ...settings };
  if (name === "unmanage") {
    const [service, ...more] = words;
    if (service === undefined) throw misused("unmanage takes the name of a service");
    if (more.length === 0) return { command: name, service, ...settings };
  }
  const command = COMMANDS.find((each) => each === name);
  if (command === undefined || words.length > 0) throw misused(`there is no command ${positionals.join(" ")}`);
  return { command, ...settings };
}

/** Throws `usage` for one that there isn't. */
export function readLevel(word: string): LogLevel {
  const level = LOG_LEVELS.find((each) => each === word);
  if (level === undefined) throw new BelayError("usage", `--log-level is one of ${LOG_LEVELS.join(", ")}`);
  return level;
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        config: { type: "string", default: "/etc/belay/agent.yaml" },
        "token-file": { type: "string" },
        all: { type: "boolean", default: false },
        "log-level": { type: "string", default: "info" },
        help: { type: "boolean", short: "h", default: false },
        version: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw misused((error as Error).message);
  }
}

function misused(message: string): BelayError {
  return new BelayError("usage", message, { hint: "see belay-agent --help" });
}
