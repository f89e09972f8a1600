import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { ProcessConfig } from "../config.js";
import { makeDir, orMissing } from "../durable.js";
import type { Exec } from "../exec.js";
import type { Logger } from "../log.js";
import { type DesiredState, readDesired, writeDesired } from "./desired.js";
import { findProcess, isMarked, type LiveProcess, markedProcesses } from "./proc.js";
import type { Service, ServiceStatus } from "./service.js";

/** Short, because a crash must be seen within a settle time; cheap, because it reads two small files. */
const POLL_MS = 200;
const STOP_POLL_MS = 25;
/** After SIGKILL only a process stuck in the kernel stays this long. */
const KILL_TIMEOUT_MS = 5_000;

export interface ProcessServiceOptions {
  name: string;
  config: ProcessConfig;
  stateDir: string;
  clock: Clock;
  exec: Exec;
  log: Logger;
  /** What the service inherits; its own `env` goes on top. */
  env: Readonly<Record<string, string>>;
  /** The service ended, or was started again, by itself. */
  changed: () => void;
}

/**
 * Supervises a service on a machine without systemd. Its processes live in sessions of their own and outlive the agent.
 * They carry a mark in their environment, so that an agent that comes back, even after SIGKILL, finds and adopts them
 * and never starts a second one beside them (I14).
 */
export class ProcessService implements Service {
  readonly name: string;
  readonly #options: ProcessServiceOptions;
  readonly #marker: string;
  readonly #stateFile: string;
  readonly #closing = new AbortController();
  #state: DesiredState = { desired: "stopped", restarts: 0 };
  #known: LiveProcess[] = [];
  #restartAt: number | null = null;
  #turn: Promise<void> = Promise.resolve();
  #watching: Promise<void> = Promise.resolve();

  private constructor(options: ProcessServiceOptions) {
    this.name = options.name;
    this.#options = options;
    this.#marker = `BELAY_SERVICE=${join(options.stateDir, options.name)}`;
    this.#stateFile = join(options.stateDir, "services", `${options.name}.json`);
  }

  /** Finds what runs already and begins to watch over it. */
  static async open(options: ProcessServiceOptions): Promise<ProcessService> {
    const service = new ProcessService(options);
    const state = await readDesired(service.#stateFile);
    service.#known = await markedProcesses(service.#marker);
    if (state !== null) service.#state = state;
    else if (service.#known.length > 0 || options.config.initially === "running") {
      await service.#want({ desired: "running", restarts: 0 });
    }
    if (service.#known.length > 0)
      options.log.info({ pids: service.#known.map((each) => each.pid) }, "service adopted");
    else if (state === null && service.#state.desired === "running") await service.start();
    service.#watching = service.#watch();
    return service;
  }

  async status(): Promise<ServiceStatus> {
    const main = await this.#main();
    const { desired, restarts } = this.#state;
    if (main !== null) return { state: "running", pid: main, restarts, ailments: [] };
    return { state: desired === "running" ? "failed" : "stopped", pid: null, restarts, ailments: [] };
  }

  glimpse(): Promise<number | null> {
    return this.#main();
  }

  /** It is defined by agent.yaml, which was read whole. */
  beforeReload(): Promise<ServiceStatus> {
    return this.status();
  }

  /** It is defined in agent.yaml, which the agent reads once. */
  async definition(): Promise<null> {
    return null;
  }

  needDefinition(): Promise<ServiceStatus> {
    return this.status();
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      this.#restartAt = null;
      if (this.#state.desired === "running" && (await this.#main()) !== null) return;
      await this.#want({ desired: "running", restarts: 0 });
      await this.#launch();
    });
  }

  stop(timeoutMs: number): Promise<void> {
    return this.#inTurn(async () => {
      this.#restartAt = null;
      if (this.#state.desired !== "stopped") await this.#want({ desired: "stopped", restarts: 0 });
      if (await this.#endAll("SIGTERM", timeoutMs)) return;
      if (await this.#endAll("SIGKILL", KILL_TIMEOUT_MS)) return;
      throw new BelayError("service-stop-failed", `${this.name} survives SIGKILL`, {
        hint: "a process is stuck in the kernel: look at its disk or network file system",
        context: { service: this.name, pids: this.#known.map((each) => each.pid) },
      });
    });
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const pid = await this.#main();
      if (pid === null) throw new BelayError("service-not-running", `${this.name} does not run`, { hint: "start it" });
      await this.#signal(pid, this.#options.config.reloadSignal);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
    await this.#turn;
  }

  async #watch(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await clock.sleep(POLL_MS, signal);
        await this.#inTurn(() => this.#look());
      } catch (error) {
        if (!signal.aborted) log.error({ service: this.name, error: String(error) }, "service can't be watched");
      }
    }
  }

  /** One look: a service that should run and doesn't is started again, after its delay. */
  async #look(): Promise<void> {
    if (this.#closing.signal.aborted || this.#state.desired === "stopped") return;
    const { clock, config, log } = this.#options;
    if ((await this.#main()) !== null) {
      this.#restartAt = null;
      return;
    }
    if (this.#restartAt === null) {
      log.warn({ service: this.name, restartMs: config.restartDelayMs }, "service is gone");
      this.#restartAt = clock.ticks() + config.restartDelayMs;
      this.#options.changed();
    }
    if (clock.ticks() < this.#restartAt) return;
    this.#restartAt = null;
    await this.#want({ desired: "running", restarts: this.#state.restarts + 1 });
    await this.#launch();
    this.#options.changed();
  }

  async #launch(): Promise<void> {
    const { config, env, exec, log } = this.#options;
    this.#known = await markedProcesses(this.#marker);
    if (this.#known.length > 0) return;
    await makeDir(dirname(config.logFile));
    const [key, value] = this.#marker.split("=") as [string, string];
    const pid = await exec.launch(config.argv, {
      env: { ...env, ...config.env, [key]: value },
      cwd: config.cwd,
      logFile: config.logFile,
    });
    const born = await findProcess(pid);
    this.#known = born === null ? [] : [born];
    log.info({ service: this.name, servicePid: pid }, "service started");
  }

  /** The pid file's process if it is alive and ours, else the oldest of ours. */
  async #main(): Promise<number | null> {
    const named = await this.#pidFromFile();
    if (named !== null && (await this.#isOurs(named))) return named;
    await this.#forgetDead();
    if (this.#known.length === 0) this.#known = await markedProcesses(this.#marker);
    return this.#known[0]?.pid ?? null;
  }

  async #pidFromFile(): Promise<number | null> {
    const { pidFile } = this.#options.config;
    const text = pidFile === null ? null : await orMissing(readFile(pidFile, "utf8"));
    return text !== null && /^[1-9][0-9]{0,9}\s*$/.test(text) ? Number(text) : null;
  }

  /** A pid may have been given to somebody else since: what we don't know is ours only if it carries the mark. */
  async #isOurs(pid: number): Promise<boolean> {
    const live = await findProcess(pid);
    if (live === null) return false;
    if (this.#known.some((each) => each.pid === pid && each.bornAt === live.bornAt)) return true;
    if (!(await isMarked(pid, this.#marker))) return false;
    this.#known = [...this.#known.filter((each) => each.pid !== pid), live].sort((a, b) => a.bornAt - b.bornAt);
    return true;
  }

  async #forgetDead(): Promise<void> {
    const still: LiveProcess[] = [];
    for (const each of this.#known) {
      if ((await findProcess(each.pid))?.bornAt === each.bornAt) still.push(each);
    }
    this.#known = still;
  }

  /** True when none is left within the time. Looks for late forks before it says so. */
  async #endAll(signal: NodeJS.Signals, timeoutMs: number): Promise<boolean> {
    const { clock } = this.#options;
    const deadline = clock.ticks() + timeoutMs;
    const told = new Set<number>();
    this.#known = await markedProcesses(this.#marker);
    while (this.#known.length > 0) {
      for (const { pid } of this.#known) {
        if (told.has(pid)) continue;
        told.add(pid);
        await this.#signal(pid, signal);
      }
      if (clock.ticks() >= deadline) return false;
      await clock.sleep(STOP_POLL_MS);
      await this.#forgetDead();
      if (this.#known.length === 0) this.#known = await markedProcesses(this.#marker);
    }
    return true;
  }

  async #signal(pid: number, signal: NodeJS.Signals): Promise<void> {
    if (!(await isMarked(pid, this.#marker))) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  async #want(state: DesiredState): Promise<void> {
    await writeDesired(this.#stateFile, state);
    this.#state = state;
  }

  /** Start, stop, reload and the watcher's look never overlap. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.then(
      () => undefined,
      () => undefined,
    );
    return mine;
  }
}
