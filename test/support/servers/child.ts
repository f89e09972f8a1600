import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const READY_WITHIN_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 50;

/** What cleans up after whoever started a server: tap's test, or anything else that knows when it ends. */
export interface Owner {
  teardown(cleanUp: () => Promise<void>): void;
}

/** A server of somebody else's as a child of this process. It dies with its parent, however that one dies. */
export class ServerChild {
  readonly #logFile: string;
  readonly #stopSignal: NodeJS.Signals;
  #child: ChildProcess | null = null;
  #exited: Promise<unknown> = Promise.resolve();

  constructor(logFile: string, stopSignal: NodeJS.Signals) {
    this.#logFile = logFile;
    this.#stopSignal = stopSignal;
  }

  get pid(): number | null {
    return this.#alive ? (this.#child?.pid ?? null) : null;
  }

  /** Starts `argv`, as another user if one is given, and waits until `isReady`. Throws with the log when it isn't. */
  async start(argv: readonly string[], isReady: () => Promise<boolean>, user: User | null = null): Promise<void> {
    if (this.#alive) throw new Error(`${argv[0]} is running already`);
    const log = openSync(this.#logFile, "a");
    this.#child = spawn("setpriv", ["--pdeathsig", "KILL", ...asUser(user), ...argv], { stdio: ["ignore", log, log] });
    this.#exited = once(this.#child, "exit");
    closeSync(log);
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await isReady())) {
      if (this.#alive && Date.now() < deadline) await sleep(LOOK_AGAIN_MS);
      else throw new Error(`${argv[0]} did not become ready:\n${await readFile(this.#logFile, "utf8")}`);
    }
  }

  /** As a power cut looks to a process. Idempotent. */
  async kill(): Promise<void> {
    if (!this.#alive) return;
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }

  /** Asks it to stop, and kills it when it doesn't. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#alive) return;
    this.#child?.kill(this.#stopSignal);
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), STOP_PATIENCE_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  get #alive(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** The arguments of setpriv(1) that make it another user. */
export function asUser(user: User | null): string[] {
  return user === null ? [] : ["--reuid", `${user.uid}`, "--regid", `${user.gid}`, "--clear-groups"];
}
