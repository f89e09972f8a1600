import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Plan } from "@belay/controller/plan/plan";
import { PlanStore } from "@belay/controller/store/plans";
import { openSqlite, type Store } from "@belay/controller/store/sqlite";
import { BelayError } from "@belay/shared";
import { PortClaim } from "../../../test/support/fleet-on-disk/ports.js";
import { Api } from "../../../test/support/real-fleet/api.js";
import type { Identification } from "./known-hosts.js";
import { cpuMsOf } from "./processor.js";

const PROGRAM = fileURLToPath(new URL("../../../packages/controller/bin/belayd.js", import.meta.url));
const REPORTER = fileURLToPath(new URL("./report-memory.mjs", import.meta.url));
const START_TIMEOUT_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 50;
const MEMORY_TIMEOUT_MS = 30_000;
/** What the engine has freed goes back to the system some collections later, with time between them; four were enough. */
const CALM_ROUNDS = 4;
const CALM_MS = 2_500;

/** What it holds after a garbage collection, bytes. */
export interface Memory {
  /** Live objects and buffers: the precise part. */
  readonly live: number;
  /** The whole process, as the system sees it. */
  readonly resident: number;
}

export interface BelaydOptions {
  /** On a real disk: what its database costs is a part of what is measured. */
  readonly dir: string;
  readonly fleetYaml: string;
  /** Saved before it starts, because these were made by no planner. */
  readonly plans: readonly Plan[];
  /** By what it knows its agents. */
  readonly by: Identification;
  /** Makes the hosts known to it, before it opens its database. */
  readonly enrol: (store: Store, dataDir: string) => Promise<void>;
}

/** A belayd in a process of its own, as people run it: same program, same database settings, same log level. */
export class Belayd {
  readonly api: Api;
  /** Where agents dial. */
  readonly door: string;
  readonly #dir: string;
  readonly #ports: PortClaim;
  /** Processor time of its first start, before any agent came, milliseconds. */
  readonly startCpuMs: number;
  #child: ChildProcess;
  #isWanted = true;

  private constructor(parts: {
    dir: string;
    ports: PortClaim;
    child: ChildProcess;
    startCpuMs: number;
    api: Api;
    door: string;
  }) {
    this.startCpuMs = parts.startCpuMs;
    this.#dir = parts.dir;
    this.#ports = parts.ports;
    this.#child = parts.child;
    this.api = parts.api;
    this.door = parts.door;
  }

  static async start(options: BelaydOptions): Promise<Belayd> {
    const { dir, by } = options;
    const dataDir = join(dir, "data");
    await mkdir(dataDir, { recursive: true });
    await writeFile(join(dir, "fleet.yaml"), options.fleetYaml);
    const ports = new PortClaim();
    const [listen, door] = [`127.0.0.1:${await ports.next()}`, `127.0.0.1:${await ports.next()}`];
    // Facts are told once, on connecting: reports in the middle of a wave would be somebody else's cost.
    const config = {
      listen,
      dataDir,
      fleet: "fleet.yaml",
      agents: { factsEverySeconds: 3_600, plaintextTokens: by === "token" },
      ...(by === "token" ? {} : { tls: { listen: door } }),
      // All of them dial at once, from this machine.
      limits: { connectionsPerAddress: 50_000 },
    };
    await writeFile(join(dir, "belayd.yaml"), JSON.stringify(config));
    await fill(dataDir, options);
    const child = launch(dir);
    try {
      await untilUp(dir, child);
      const startCpuMs = await cpuMsOf(child.pid ?? 0);
      const apiToken = (await readFile(join(dataDir, "api-token"), "utf8")).trim();
      const api = new Api(`http://${listen}`, apiToken);
      const dialled = by === "token" ? `http://${listen}` : `https://${door}`;
      return new Belayd({ dir, ports, child, startCpuMs, api, door: dialled });
    } catch (error) {
      child.kill("SIGKILL");
      ports.release();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Kills it, without a goodbye to anybody, and starts it again where it was. Resolves when it serves. */
  async restart(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
    if (!this.#isWanted) throw new BelayError("bench-belayd", "the bench was ended");
    this.#child = launch(this.#dir);
    await untilUp(this.#dir, this.#child);
  }

  /** Takes ten seconds, in which nothing else should happen. Throws `bench-belayd` when it gives no answer. */
  async memory(): Promise<Memory> {
    for (let round = 1; ; round += 1) {
      await sleep(CALM_MS);
      const memory = await this.#memoryNow();
      if (round === CALM_ROUNDS) return memory;
    }
  }

  async #memoryNow(): Promise<Memory> {
    const file = memoryFileIn(this.#dir);
    await rm(file, { force: true });
    this.#child.kill("SIGUSR2");
    const deadline = Date.now() + MEMORY_TIMEOUT_MS;
    while (!existsSync(file)) {
      if (Date.now() > deadline) throw new BelayError("bench-belayd", "belayd does not say what memory it holds");
      await sleep(LOOK_EVERY_MS);
    }
    const usage = JSON.parse(await readFile(file, "utf8")) as NodeJS.MemoryUsage;
    return { live: usage.heapUsed + usage.external, resident: usage.rss };
  }

  async stop(): Promise<void> {
    this.#isWanted = false;
    this.#ports.release();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), STOP_PATIENCE_MS);
    await exited;
    clearTimeout(patience);
  }
}

/** Plans and hosts go into the database before belayd opens it. */
async function fill(dataDir: string, { plans, enrol }: BelaydOptions): Promise<void> {
  const store = openSqlite(dataDir);
  try {
    const planStore = new PlanStore(store);
    for (const plan of plans) await planStore.save(plan, "bench", Date.now());
    await enrol(store, dataDir);
  } finally {
    await store.close();
  }
}

/** Starts belayd in its folder. */
function launch(dir: string): ChildProcess {
  const log = openSync(logFileIn(dir), "w");
  // BELAY_BENCH_NODE: options for a look inside, such as --cpu-prof.
  const more = process.env.BELAY_BENCH_NODE?.split(" ").filter((word) => word !== "") ?? [];
  const argv = ["--expose-gc", "--import", REPORTER, ...more, PROGRAM, "--config", join(dir, "belayd.yaml")];
  const env = { ...process.env, BELAY_BENCH_MEMORY: memoryFileIn(dir) };
  const child = spawn(process.execPath, argv, { stdio: ["ignore", log, log], env });
  closeSync(log);
  return child;
}

function logFileIn(dir: string): string {
  return join(dir, "belayd.log");
}

function memoryFileIn(dir: string): string {
  return join(dir, "memory.json");
}

/** Its log says when it has taken up what it had, and serves. Throws `bench-belayd`. */
async function untilUp(dir: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const log = await readFile(logFileIn(dir), "utf8");
    if (log.includes('"msg":"belayd is up"')) return;
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new BelayError("bench-belayd", `belayd does not start:\n${log.slice(-2_000)}`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}
