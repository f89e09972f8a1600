import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { hashToken } from "@belay/controller/fleet/gateway";
import type { Plan } from "@belay/controller/plan/plan";
import { AgentStore } from "@belay/controller/store/agents";
import { PlanStore } from "@belay/controller/store/plans";
import { openSqlite } from "@belay/controller/store/sqlite";
import { BelayError } from "@belay/shared";
import { Api } from "../../../test/support/real-fleet/api.js";

const PROGRAM = fileURLToPath(new URL("../../../packages/controller/bin/belayd.js", import.meta.url));
const START_TIMEOUT_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 50;
/** Linux counts processor time in these, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

export interface BelaydOptions {
  /** On a real disk: what its database costs is a part of what is measured. */
  readonly dir: string;
  readonly fleetYaml: string;
  /** Saved before it starts, because these were made by no planner. */
  readonly plans: readonly Plan[];
  readonly tokens: readonly { readonly host: string; readonly token: string }[];
}

/** A belayd in a process of its own, as people run it: same program, same database settings, same log level. */
export class Belayd {
  readonly api: Api;
  readonly #child: ChildProcess;
  readonly #pid: number;

  private constructor(child: ChildProcess, pid: number, api: Api) {
    this.#child = child;
    this.#pid = pid;
    this.api = api;
  }

  static async start(options: BelaydOptions): Promise<Belayd> {
    const { dir } = options;
    const dataDir = join(dir, "data");
    await mkdir(dataDir, { recursive: true });
    await writeFile(join(dir, "fleet.yaml"), options.fleetYaml);
    // Facts are told once, on connecting: reports in the middle of a wave would be somebody else's cost.
    const config = { listen: "127.0.0.1:0", dataDir, fleet: "fleet.yaml", agents: { factsEverySeconds: 3_600 } };
    await writeFile(join(dir, "belayd.yaml"), JSON.stringify(config));
    await fill(dataDir, options);

    const logFile = join(dir, "belayd.log");
    const log = openSync(logFile, "w");
    // BELAY_BENCH_NODE: options for a look inside, such as --cpu-prof.
    const more = process.env.BELAY_BENCH_NODE?.split(" ").filter((word) => word !== "") ?? [];
    const argv = [...more, PROGRAM, "--config", join(dir, "belayd.yaml")];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", log, log] });
    closeSync(log);
    try {
      const address = await addressIn(logFile, child);
      const apiToken = (await readFile(join(dataDir, "api-token"), "utf8")).trim();
      return new Belayd(child, child.pid ?? 0, new Api(address, apiToken));
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  }

  /** Memory that the process holds now, bytes. */
  async rssBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
  }

  /** Processor time that it has used so far, all threads, milliseconds. */
  async cpuMs(): Promise<number> {
    const stat = await readFile(`/proc/${this.#pid}/stat`, "utf8");
    // The second field, the name, is in parentheses and may hold anything; user and system time are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), STOP_PATIENCE_MS);
    await exited;
    clearTimeout(patience);
  }
}

/** Plans and tokens go into the database before belayd opens it. */
async function fill(dataDir: string, { plans, tokens }: BelaydOptions): Promise<void> {
  const store = openSqlite(dataDir);
  try {
    const planStore = new PlanStore(store);
    for (const plan of plans) await planStore.save(plan, "bench", Date.now());
    const hashes = tokens.map(({ host, token }) => ({ host, tokenHash: hashToken(token) }));
    await new AgentStore(store).putTokens(hashes, Date.now());
  } finally {
    await store.close();
  }
}

/** Port 0 lets belayd choose; its log says which. */
async function addressIn(logFile: string, child: ChildProcess): Promise<string> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const log = await readFile(logFile, "utf8");
    const address = /"address":"(http:[^"]+)"/.exec(log)?.[1];
    if (address !== undefined) return address;
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new BelayError("bench-belayd", `belayd does not start:\n${log.slice(-2_000)}`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}
