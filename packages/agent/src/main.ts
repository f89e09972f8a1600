import { writeSync } from "node:fs";
import { BelayError, errorInfo, openNotices } from "@belay/shared";
import { AGENT_VERSION } from "./about.js";
import { readSigners } from "./approvals/signers.js";
import { HELP, type Question, readArguments, readLevel } from "./cli/arguments.js";
import { everyCheckpoint, newestCheckpoint } from "./cli/checkpoint.js";
import { describeConfig, describeIdentity } from "./cli/describe.js";
import { forgetLease } from "./cli/forget-lease.js";
import { joinNow } from "./cli/join.js";
import { systemClock } from "./clock.js";
import { type AgentConfig, parseConfig } from "./config.js";
import { readConfigured } from "./config-text.js";
import { openIdentity, openJournalOf, standBy, startDaemon } from "./daemon.js";
import { unmanage } from "./entry/unmanage.js";
import { systemExec } from "./exec.js";
import { createLogger, type Logger, type LogLevel } from "./log.js";
import { WitnessMemory } from "./witness/memory.js";

/** Not zero: a unit that restarts on failure alone restarts this too. */
const EXIT_TO_BE_STARTED_AGAIN = 75;
const LEAVE_TIMEOUT_MS = 5_000;

// Modes are said where files are made: what is private gets 0600 or 0700 there. Whatever mask a service manager hands down
// must not make a release unreadable for the users of its programs.
process.umask(0o022);

/** Does what is asked. Resolves to an exit code; null: running until a signal. */
async function main(argv: string[]): Promise<number | null> {
  const asked = readArguments(argv);
  if (asked.command === "help") return say(HELP);
  if (asked.command === "version") return say(`${AGENT_VERSION}\n`);
  const config = parseConfig(await readConfigured(asked.configFile), asked.configFile);
  switch (asked.command) {
    case "run":
      await run(config, readLevel(asked.logLevel));
      return null;
    case "supervise":
    case "rescue":
      await standByUntilSignal(asked.command, config, readLevel(asked.logLevel));
      return 0;
    default:
      return say(await answer(asked, config));
  }
}

/** What is said to a command that looks or does one thing, and ends. */
async function answer(asked: Question, config: AgentConfig): Promise<string> {
  const { stateDir } = config;
  switch (asked.command) {
    case "check-config": {
      if (config.approve.by === "approvers") await readSigners(config.approve.signers);
      const identity = await openIdentity(config, logTo(config, "warn"));
      return describeConfig(config) + (await describeIdentity(config, identity));
    }
    case "join":
      return joinNow(config, await openIdentity(config, logTo(config, "warn"), asked.tokenFile));
    case "unmanage":
      return `${await unmanage(asked.service, { stateDir, exec: systemExec, signal: new AbortController().signal })}\n`;
    case "checkpoint":
      if (asked.all) return everyCheckpoint(new WitnessMemory(stateDir));
      return newestCheckpoint(new WitnessMemory(stateDir), warn);
    case "forget-lease":
      return forgetLease(await openJournalOf(config), systemClock.now());
  }
}

async function standByUntilSignal(command: "supervise" | "rescue", config: AgentConfig, level: LogLevel) {
  const stopping = new AbortController();
  const stop = () => stopping.abort(new BelayError("agent-halted", `${command} stops`));
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  await standBy(command, config, { level, log: logTo(config, level), signal: stopping.signal });
}

async function run(config: AgentConfig, level: LogLevel): Promise<void> {
  const log = logTo(config, level);
  let leave = () => {};
  const agent = await startDaemon(config, log, () => leave());
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

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

function warn(line: string): void {
  process.stderr.write(`belay-agent: ${line}\n`);
}

function complain(error: unknown): number {
  const { code, message, hint } = errorInfo(error);
  warn(hint === undefined ? `${message} (${code})` : `${message} (${code})\n  ${hint}`);
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
