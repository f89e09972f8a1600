import { spawn } from "node:child_process";
import type { Listeners } from "./listeners.js";

/** A fork that has not started by then is killed, and its parent goes on. */
const FORK_TIMEOUT_MS = 10_000;

export interface Life {
  readonly listeners: Listeners;
  readonly log: (line: string) => void;
  /** Lets go of everything but the listeners. Called once. */
  readonly stop: (reason: string) => Promise<void>;
  readonly ignoresHup: boolean;
  readonly describe: () => string;
}

/** HUP forks and hands over, USR2 only forks, QUIT drains, TERM and INT stop now, USR1 shows diagnostics. */
export function obeySignals(life: Life): void {
  let forking = false;
  let leaving = false;
  let next: (() => void) | null = null;
  const leave = async (reason: string, drain: boolean) => {
    if (leaving) return;
    leaving = true;
    life.log(`leaving: ${reason}`);
    // Together: clients that auth lets go must not find its listeners open for another try.
    await Promise.all([life.stop(reason), drain ? life.listeners.release() : null]);
    process.exit(0);
  };
  const forkOnce = (then: () => void) => {
    if (leaving) return;
    if (forking) {
      // Taken up when the fork under way has ended: a signal that comes while another is handled is not lost.
      next = then;
      return;
    }
    forking = true;
    fork(life, (started) => {
      forking = false;
      if (started) then();
      const waiting = next;
      next = null;
      if (waiting !== null) forkOnce(waiting);
    });
  };
  process.on("SIGTERM", () => void leave("SIGTERM", false));
  process.on("SIGINT", () => void leave("SIGINT", false));
  process.on("SIGQUIT", () => void leave("SIGQUIT", true));
  process.on("SIGUSR1", () => life.log(life.describe()));
  process.on("SIGUSR2", () => forkOnce(() => undefined));
  process.on("SIGHUP", () => {
    if (life.ignoresHup) return;
    forkOnce(() => void leave("handed over after SIGHUP", true));
  });
}

/**
 * Starts a successor by the path this process was started by, links unresolved: what the link leads to now is what
 * runs next. Calls `end` once: true when it has started, false when it died or took too long.
 */
function fork(life: Life, end: (started: boolean) => void): void {
  const [, program = "", ...args] = process.argv;
  const child = spawn(program, args, {
    env: { ...process.env, STANDIN_FORK: "1" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  life.log(`forked ${program} as pid ${child.pid}`);
  life.listeners.bequeathTo(child);
  const timeout = setTimeout(() => child.kill("SIGKILL"), FORK_TIMEOUT_MS);
  let ended = false;
  const finish = (started: boolean, note: string) => {
    if (ended) return;
    ended = true;
    clearTimeout(timeout);
    life.log(note);
    end(started);
  };
  child.on("error", (error) => finish(false, `the fork failed: ${error.message}`));
  child.on("exit", (code, signal) => finish(false, `the fork ended before it had started: ${signal ?? code}`));
  child.on("message", (message: { started?: number }) => {
    if (message.started === undefined) return;
    child.disconnect();
    finish(true, `pid ${message.started} has started`);
  });
}
