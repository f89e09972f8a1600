import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Service, ServiceStatus } from "@belay/agent";

/**
 * A service as the agent sees it, that needs no process: it runs what is installed when it is started, and each start
 * writes a line with its version into its data, as durably as a database would.
 */
export class RigService implements Service {
  readonly name = "svc";
  /** Versions that never become ready. */
  readonly broken = new Set<string>();
  /** Every line that was ever written and not rightly taken back, in order. */
  written: string[] = [];
  /** What the data held after the last start. */
  content = "";
  running: string | null = null;
  /** The boot is about to start it, unless somebody decides otherwise before. */
  comingUp = false;
  readonly #installed: () => string;
  readonly #data: string;
  #pid = 1000;
  #starts = 0;

  /** `installed` gives the version that a start would start. */
  constructor(installed: () => string, data: string) {
    this.#installed = installed;
    this.#data = data;
  }

  get healthy(): boolean {
    return this.running !== null && !this.broken.has(this.running);
  }

  async status(): Promise<ServiceStatus> {
    if (this.running === null) return { state: "stopped", pid: null, restarts: 0, ailments: [] };
    return { state: "running", pid: this.#pid, restarts: 0, ailments: [] };
  }

  async glimpse(): Promise<number | null> {
    return this.running === null ? null : this.#pid;
  }

  beforeReload(): Promise<ServiceStatus> {
    return this.status();
  }

  async definition(): Promise<null> {
    return null;
  }

  needDefinition(): Promise<ServiceStatus> {
    return this.status();
  }

  async start(): Promise<void> {
    if (this.running === null) this.launch();
  }

  async stop(): Promise<void> {
    this.running = null;
    this.comingUp = false;
  }

  async reload(): Promise<void> {
    this.launch();
  }

  async close(): Promise<void> {}

  /** No step of it waits for anything, so that a power cut comes before all of it or after. */
  launch(): void {
    this.comingUp = false;
    const version = this.#installed();
    this.#starts += 1;
    const line = `${version} ${this.#starts}`;
    const content = `${[...linesOf(this.#data), line].join("\n")}\n`;
    writeSafely(this.#data, content);
    this.content = content;
    this.written.push(line);
    this.#pid += 1;
    this.running = version;
  }
}

export function linesOf(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").slice(0, -1);
}

export function writeSafely(file: string, content: string): void {
  const temp = `${file}.new`;
  const fd = openSync(temp, "w");
  writeSync(fd, content);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(temp, file);
  const dir = openSync(dirname(file), "r");
  fsyncSync(dir);
  closeSync(dir);
}
