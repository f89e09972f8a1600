import { randomUUID } from "node:crypto";
import { writeSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BelayError, errorInfo, openNotices, readJoinToken } from "@belay/shared";
import { AGENT_VERSION } from "./about.js";
import { startAgent } from "./agent.js";
import { readSigners } from "./approvals/signers.js";
import { systemClock } from "./clock.js";
import { type AgentConfig, parseConfig } from "./config.js";
import { unmanage } from "./entry/unmanage.js";
import { startChild, systemExec } from "./exec.js";
import { systemHttp } from "./http.js";
import { HostIdentity } from "./identity/host-identity.js";
import { openJournalDisk } from "./journal/disk.js";
import { Journal } from "./journal/journal.js";
import { byToken, webSocketDial } from "./link/socket.js";
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from "./log.js";
import { systemdRestart } from "./self/rescue.js";
import { supervise } from "./self/supervise.js";
import { UpgradeFiles } from "./self/upgrade-files.js";
import { watchUpgrade } from "./self/watch.js";
import { WitnessMemory } from "./witness/memory.js";

const HELP = `belay-agent: looks, fetches, backs up, swaps, checks and reverts on one host.

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

const COMMANDS: ReadonlySet<string> = new Set([
  "check-config",
  "join",
  "supervise",
  "rescue",
  "unmanage",
  "checkpoint",
  "forget-lease",
]);
/** Not zero: a unit that restarts on failure alone restarts this too. */
const EXIT_TO_BE_STARTED_AGAIN = 75;
const LEAVE_TIMEOUT_MS = 5_000;

// Modes are said where files are made: what is private gets 0600 or 0700 there. Whatever mask a service manager hands down
// must not make a release unreadable for the users of its programs.
process.umask(0o022);

/** The only place that constructs time, disk and network. Resolves to an exit code; null: running until a signal. */
async function main(argv: string[]): Promise<number | null> {
  const { values, positionals } = parseArguments(argv);
  if (values.help) return say(HELP);
  if (values.version) return say(`${AGENT_VERSION}\n`);
  const [command, ...words] = positionals;
  const [service, ...extra] = command === "unmanage" ? words : [undefined, ...words];
  if (command === "unmanage" && service === undefined) {
    throw new BelayError("usage", "unmanage takes the name of a service", { hint: "see belay-agent --help" });
  }
  if (extra.length > 0 || (command !== undefined && !COMMANDS.has(command))) {
    throw new BelayError("usage", `there is no command ${positionals.join(" ")}`, { hint: "see belay-agent --help" });
  }
  const config = parseConfig(await readText(values.config), values.config);
  if (command === "check-config") {
    if (config.approve.by === "approvers") await readSigners(config.approve.signers);
    return say(`${describe(config)}identity    ${await describeIdentity(config)}\n`);
  }
  if (command === "checkpoint") return say(await (values.all ? everyCheckpoint(config) : newestCheckpoint(config)));
  if (command === "forget-lease") return say(await forgetLease(config));
  if (command === "join") return say(await joinNow(config, values["token-file"]));
  if (service !== undefined) {
    const { stateDir } = config;
    return say(`${await unmanage(service, { stateDir, exec: systemExec, signal: new AbortController().signal })}\n`);
  }
  const level = LOG_LEVELS.find((each) => each === values["log-level"]);
  if (level === undefined) throw new BelayError("usage", `--log-level is one of ${LOG_LEVELS.join(", ")}`);
  if (command === "supervise" || command === "rescue") return standBy(command, config, level);
  await run(config, level);
  return null;
}

/** What stands beside an agent, and under its upgrades. */
async function standBy(command: "supervise" | "rescue", config: AgentConfig, level: LogLevel): Promise<number> {
  const log = logTo(config, level);
  const stopping = new AbortController();
  const stop = () => stopping.abort(new BelayError("agent-halted", `${command} stops`));
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  const { signal } = stopping;
  const files = new UpgradeFiles(config.stateDir);
  const world = { files, clock: systemClock, log, signal };
  const { self } = config;
  if (command === "supervise" && self?.manager === "process") {
    const argv = [self.program, "--config", config.file, "--log-level", level];
    await supervise({ ...world, start: () => startChild(argv) });
  } else if (command === "rescue" && self?.manager === "systemd") {
    const watched = watchUpgrade({ ...world, restartAgent: systemdRestart(self, systemExec) });
    await watched.catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  } else {
    throw new BelayError("usage", `${config.file} asks for no ${command}: self is ${self?.manager ?? "not declared"}`, {
      hint: "`supervise` goes with `self: { manager: process }`, `rescue` with `self: { manager: systemd }`",
    });
  }
  return 0;
}

async function run(config: AgentConfig, level: LogLevel): Promise<void> {
  const log = logTo(config, level);
  const identity = isPlain(config) ? null : await openIdentity(config, log);
  const controller = identity ?? byToken(config.controller, await readToken(config.tokenFile, log));
  let leave = () => {};
  const agent = await startAgent({
    config,
    leave: () => leave(),
    controller,
    ...(identity === null ? {} : { identity }),
    clock: systemClock,
    random: Math.random,
    dial: webSocketDial(controller),
    http: systemHttp,
    exec: systemExec,
    log,
    machine: { os: process.platform, arch: process.arch },
    journalDisk: await openJournalDisk(join(config.stateDir, "journal")),
    env: { PATH: process.env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  log.info({ version: AGENT_VERSION, controller: config.controller, services: [...config.services.keys()] }, "started");
  const notices = openNotices({ env: process.env, write: writeSync, every, alive: () => agent.alive() });
  notices.ready();
  const stop = (signal: NodeJS.Signals) => {
    notices.stopping();
    log.info({ signal }, "stopping; services go on");
    agent.stop().then(
      () => process.exit(0),
      (error: unknown) => process.exit(complain(error)),
    );
  };
  leave = () => {
    log.info({}, "ending, to be started again");
    // The step under way is in the journal: whatever can't be closed in time is not needed any more.
    setTimeout(() => process.exit(EXIT_TO_BE_STARTED_AGAIN), LEAVE_TIMEOUT_MS);
    const end = () => process.exit(EXIT_TO_BE_STARTED_AGAIN);
    agent.stop().then(end, end);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

function every(ms: number, fire: () => void): () => void {
  const handle = setInterval(fire, ms);
  return () => clearInterval(handle);
}

function logTo(config: AgentConfig, level: LogLevel): Logger {
  const write = (line: string) => void process.stderr.write(line);
  return createLogger({ level, write, now: Date.now, fields: { pid: process.pid, host: config.host } });
}

function parseArguments(argv: string[]) {
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
    throw new BelayError("usage", (error as Error).message, { hint: "see belay-agent --help" });
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new BelayError("config-unreadable", (error as Error).message, {
      hint: "name the file with --config, and let this user read it",
      context: { file },
    });
  }
}

async function readToken(file: string, log?: Logger): Promise<string> {
  const token = (await readText(file)).trim();
  if (!/^[\x21-\x7e]{8,512}$/.test(token)) {
    throw new BelayError("token-invalid", `${file} does not hold one join token`, {
      hint: "put the token that belayd gave for this host into it, and nothing else",
      context: { file },
    });
  }
  const { mode } = await stat(file);
  if ((mode & 0o004) !== 0) log?.warn({ file }, "everybody on this host can read the token: chmod 600");
  return token;
}

/** A belayd on this very machine, which is told a token in the clear. */
function isPlain({ controller }: AgentConfig): boolean {
  return controller.startsWith("http:");
}

function openIdentity(config: AgentConfig, log: Logger, tokenFile = config.tokenFile): Promise<HostIdentity> {
  const { controller: base, host, stateDir } = config;
  return HostIdentity.open({ base, host, stateDir, tokenFile, clock: systemClock, random: Math.random, log });
}

async function joinNow(config: AgentConfig, tokenFile = config.tokenFile): Promise<string> {
  if (isPlain(config)) {
    throw new BelayError("usage", `${config.file}: belayd is asked in the clear, and nobody joins there`, {
      hint: "`controller` must be the https address of belayd's `tls` door",
    });
  }
  const identity = await openIdentity(config, logTo(config, "warn"), tokenFile);
  const { host, fleet, lifeMs } = await identity.join();
  return `${host} has joined ${fleet}; its certificate lasts ${Math.round(lifeMs / 60_000)} minutes, and is renewed by the agent\n`;
}

/** Throws `token-invalid` or `config-unreadable` where there is neither an identity nor a way to one. */
async function describeIdentity(config: AgentConfig): Promise<string> {
  if (isPlain(config)) {
    await readToken(config.tokenFile);
    return "a token in the clear, on this machine";
  }
  const { held } = await openIdentity(config, logTo(config, "warn"));
  if (held !== null) return `joined ${held.fleet} at ${new Date(held.obtainedAt).toISOString()}`;
  const { fleet } = readJoinToken(await readToken(config.tokenFile));
  return `to join ${fleet} at the first start`;
}

async function newestCheckpoint({ stateDir }: AgentConfig): Promise<string> {
  const memory = new WitnessMemory(stateDir);
  const trusted = await memory.trusted();
  const newest = trusted === null ? null : await memory.newest(trusted.log);
  if (newest === null) throw noCheckpoint();
  const others = (await memory.all()).filter(({ checkpoint }) => checkpoint.origin !== newest.checkpoint.origin);
  if (others.length > 0) {
    const names = others.map(({ checkpoint }) => `${checkpoint.origin} (${checkpoint.size} entries)`).join(", ");
    process.stderr.write(`belay-agent: other logs were followed before: ${names}; --all prints all\n`);
  }
  return newest.note;
}

/** With an empty line between two. */
async function everyCheckpoint({ stateDir }: AgentConfig): Promise<string> {
  const all = await new WitnessMemory(stateDir).all();
  if (all.length === 0) throw noCheckpoint();
  return all.map(({ note }) => note).join("\n");
}

function noCheckpoint(): BelayError {
  return new BelayError("checkpoint-unknown", "this host has seen no checkpoint of belayd's audit log yet", {
    hint: "belayd shows one to every agent that connects",
  });
}

/** The way out when a number that nobody should have given out got here: no belayd could lead this host any more. */
async function forgetLease({ stateDir }: AgentConfig): Promise<string> {
  const now = systemClock.now();
  const journal = await Journal.open(await openJournalDisk(join(stateDir, "journal")), { id: randomUUID, now });
  try {
    const { fence } = journal;
    await journal.forgetLease(now);
    return `forgot lease ${fence}\n`;
  } finally {
    await journal.close();
  }
}

function describe(config: AgentConfig): string {
  const services = [...config.services].map(([name, service]) => `${name} (${service.manager})`);
  const backends = [...config.backends].map(([name, backend]) => `${name} (${backend.kind})`);
  return [
    `host        ${config.host}`,
    `controller  ${config.controller}`,
    `state       ${config.stateDir}`,
    `services    ${services.join(", ") || "none"}`,
    `directories ${config.directories.join(", ") || "none"}`,
    `commands    ${[...config.commands.keys()].join(", ") || "none"}`,
    `backends    ${backends.join(", ") || "none"}`,
    `believes    ${believed(config.approve)}`,
    `supervisor  ${config.self?.manager ?? "not known: can't be upgraded through belayd"}`,
    "",
  ].join("\n");
}

function believed(approve: AgentConfig["approve"]): string {
  if (approve.by === "controller") return "belayd";
  return `${approve.threshold} of the approvers in ${approve.signers}, of the fleet ${approve.fleet}`;
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

function complain(error: unknown): number {
  const { code, message, hint } = errorInfo(error);
  process.stderr.write(`belay-agent: ${message} (${code})\n${hint === undefined ? "" : `  ${hint}\n`}`);
  return code === "usage" ? 2 : 1;
}

// A promise's end rather than `await`: as one executable, this file is a CommonJS script, which has no await of its own.
main(process.argv.slice(2)).then(
  (exit) => {
    if (exit !== null) process.exitCode = exit;
  },
  // Whatever a half-started agent still holds must not keep the process alive.
  (error: unknown) => process.exit(complain(error)),
);
