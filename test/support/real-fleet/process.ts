import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { unhooked } from "../unhooked.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const STOP_PATIENCE_MS = 8_000;

/** A program of Belay's, run as its users run it, that can be stopped, killed, and started again. */
export class Program {
  readonly name: string;
  readonly logFile: string;
  readonly #argv: readonly string[];
  #child: ChildProcess | null = null;
  #exited: Promise<unknown> = Promise.resolve();

  /** `bin`: path of the script below the repository's root. */
  constructor(name: string, bin: string, args: readonly string[], logFile: string) {
    this.name = name;
    this.logFile = logFile;
    this.#argv = [`${ROOT}${bin}`, ...args];
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    if (this.running) throw new Error(`${this.name} is running already`);
    const log = openSync(this.logFile, "a");
    // A small heap and few threads: a dozen of these share two cores.
    const argv = unhooked([process.execPath, "--max-semi-space-size=1", ...this.#argv]);
    const child = spawn(...argv, { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    this.#exited = once(child, "exit");
  }

  /** As `kill -9`, and as a power cut looks to a process. Idempotent. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }

  /** Asks it to stop; kills it when it doesn't. True if it stopped by itself. */
  async stop(): Promise<boolean> {
    if (!this.running) return true;
    this.#child?.kill("SIGTERM");
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), STOP_PATIENCE_MS);
    await this.#exited;
    clearTimeout(timer);
    return this.#child?.signalCode !== "SIGKILL";
  }

  log(): Promise<string> {
    return readFile(this.logFile, "utf8");
  }
}
