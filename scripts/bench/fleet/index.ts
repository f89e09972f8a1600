import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Plan } from "@belay/controller/plan/plan";
import type { RunEvent } from "@belay/controller/run/event";
import { BelayError } from "@belay/shared";
import { Belayd } from "./belayd.js";
import { Crowd } from "./crowd.js";
import { enrol, type Identification, type KnownHost } from "./known-hosts.js";
import { fleetYaml, hostNames } from "./plan.js";
import { cpuMsOf } from "./processor.js";
import { AGENTS_PER_PROCESS, mustHaveRoom } from "./room.js";
import type { Failures, Return } from "./talk.js";

/** Beside the sources, hence on a real disk; ignored by git; thrown away with `npm ci`. */
const DISK = fileURLToPath(new URL("../../../node_modules/.cache/", import.meta.url));
const MEMORY = "/dev/shm";
/** At least. */
const AGENT_PROCESSES = 2;
const RUN_TIMEOUT_MS = 120_000;
const RUN_TIMEOUT_MS_PER_STEP = 10;
const STORM_TIMEOUT_MS = 120_000;
/** A handshake and all that follows, both ends on this machine. */
const STORM_TIMEOUT_MS_PER_AGENT = 30;
/** belayd saves what hosts said every five seconds: once belongs to a storm. */
const SETTLING_MS = 6_000;
const EVENTS_PER_PAGE = 1_000;

/** How one run went: when each step was decided on, and when its agent heard that its outcome is on belayd's disk. */
export interface Timing {
  readonly steps: readonly { readonly intendedAt: number; readonly acknowledgedAt: number }[];
  /** From the request to start to the last acknowledgement, milliseconds. */
  readonly wholeMs: number;
  /** Processor time meanwhile, milliseconds: of belayd, and of all agents together. */
  readonly belaydCpuMs: number;
  readonly agentsCpuMs: number;
}

/** What takes the connections away: their own ends cut all of them, or belayd is killed and started again. */
export interface Blow {
  readonly strike: "cut" | "restart";
  /** False: agents dial anew without waiting, which none does in earnest. */
  readonly backoff: boolean;
}

/** How the agents came back. */
export interface Aftermath {
  readonly start: number;
  /** When a belayd that was killed served again; null: it was not. */
  readonly upAt: number | null;
  readonly returns: readonly Return[];
  readonly failures: Failures;
  /**
   * Processor time, milliseconds, until what hosts said is saved: of belayd, less that of a start where it was started, and
   * of all agents together.
   */
  readonly belaydCpuMs: number;
  readonly agentsCpuMs: number;
}

export interface BenchFleetOptions {
  readonly agents: number;
  readonly by: Identification;
  readonly plans: readonly Plan[];
  /** For a look at belayd while it is alone. */
  readonly beforeAgents?: (belayd: Belayd) => Promise<void>;
}

/** A real belayd with its database on a disk, and agents in other processes with their journals in memory. */
export class BenchFleet {
  readonly belayd: Belayd;
  /** For files of whoever measures; goes away with the fleet. */
  readonly dir: string;
  /** Aborted when the fleet ends, also by Ctrl-C: for processes of whoever measures. */
  readonly ended: AbortSignal;
  readonly #crowd: Crowd;
  readonly #tidy: () => Promise<void>;

  private constructor(parts: {
    belayd: Belayd;
    crowd: Crowd;
    dir: string;
    ended: AbortSignal;
    tidy: () => Promise<void>;
  }) {
    this.belayd = parts.belayd;
    this.#crowd = parts.crowd;
    this.dir = parts.dir;
    this.ended = parts.ended;
    this.#tidy = parts.tidy;
  }

  /** Resolves when every agent was welcomed and has told what is on its host. Throws `bench-no-room` where this machine can't hold so many. */
  static async start(options: BenchFleetOptions): Promise<BenchFleet> {
    const { agents, by, plans, beforeAgents } = options;
    await mustHaveRoom(agents, by);
    await mkdir(DISK, { recursive: true });
    const disk = await mkdtemp(join(DISK, "belay-bench-"));
    const memory = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "belay-bench-"));
    const toEnd: { stop(): Promise<void> }[] = [];
    const ending = new AbortController();
    const tidy = async () => {
      ending.abort();
      process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
      for (const each of toEnd) await each.stop();
      for (const dir of [disk, memory]) await rm(dir, { recursive: true, force: true });
    };
    const interrupted = () => {
      tidy().then(
        () => process.exit(130),
        () => process.exit(1),
      );
    };
    process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
    try {
      let hosts: readonly KnownHost[] = [];
      const belayd = await Belayd.start({
        dir: disk,
        fleetYaml: fleetYaml(agents, memory),
        plans,
        by,
        enrol: async (store, dataDir) => {
          hosts = await enrol(by, { store, dataDir, agentsDir: memory, hosts: hostNames(agents) });
        },
      });
      toEnd.unshift(belayd);
      await beforeAgents?.(belayd);
      const processes = Math.max(AGENT_PROCESSES, Math.ceil(agents / AGENTS_PER_PROCESS));
      const crowd = await Crowd.start({ controller: belayd.door, dir: memory, hosts, processes });
      toEnd.unshift(crowd);
      return new BenchFleet({ belayd, crowd, dir: memory, ended: ending.signal, tidy });
    } catch (error) {
      await tidy();
      throw error;
    }
  }

  /** Starts a run and waits until every one of its outcomes is on both sides. Throws `bench-run` if one is not `done`. */
  async carryOut(plan: Plan, perHost: number): Promise<Timing> {
    const { belayd } = this;
    const hosts = Object.keys(plan.hosts).length;
    const before = await this.#cpuMs();
    const timeoutMs = RUN_TIMEOUT_MS + hosts * perHost * RUN_TIMEOUT_MS_PER_STEP;
    const acknowledged = this.#crowd.acknowledged(hosts, perHost, timeoutMs);
    const start = Date.now();
    const [{ id }, acks] = await Promise.all([belayd.api.start(plan.id), acknowledged]);
    const after = await this.#cpuMs();
    const wholeMs = Math.max(...acks.values()) - start;
    const events = await this.#eventsOf(id);
    const end = events.at(-1);
    if (end?.type !== "run-ended" || end.result !== "done") throw new BelayError("bench-run", `run ${id} is not done`);
    const steps = events.flatMap((event) => {
      const acknowledgedAt = event.type === "step-intended" ? acks.get(event.step) : undefined;
      return acknowledgedAt === undefined ? [] : [{ intendedAt: event.at, acknowledgedAt }];
    });
    if (steps.length !== hosts * perHost) {
      throw new BelayError("bench-run", `${steps.length} of ${hosts * perHost} steps were carried out`);
    }
    return {
      steps,
      wholeMs,
      belaydCpuMs: after.belayd - before.belayd,
      agentsCpuMs: after.agents - before.agents,
    };
  }

  /**
   * Takes every agent's connection away at once, and waits until all are back: welcomed, and what is on their hosts told.
   * Throws `bench-storm` where belayd then doesn't know what they say they told it.
   */
  async storm({ strike, backoff }: Blow): Promise<Aftermath> {
    const { belayd } = this;
    const timeoutMs = STORM_TIMEOUT_MS + this.#crowd.size * STORM_TIMEOUT_MS_PER_AGENT;
    await this.#crowd.brace(backoff);
    const before = await this.#cpuMs();
    const start = Date.now();
    const upAgain = strike === "cut" ? null : belayd.restart().then(() => Date.now());
    const [upAt, { returns, failures }] = await Promise.all([
      upAgain,
      this.#crowd.comeBack(strike === "cut", timeoutMs),
    ]);
    await sleep(SETTLING_MS);
    const after = await this.#cpuMs();
    const isWhole = returns.every(({ toldAt }) => toldAt !== null);
    if (isWhole) await this.#mustKnow(returns.length, start);
    return {
      start,
      upAt,
      returns,
      failures,
      belaydCpuMs: after.belayd - (strike === "cut" ? before.belayd : belayd.startCpuMs),
      agentsCpuMs: after.agents - before.agents,
    };
  }

  async #mustKnow(agents: number, since: number): Promise<void> {
    const hosts = await this.belayd.api.hosts();
    const known = hosts.filter(({ present, facts }) => present && facts !== null && facts.at >= since).length;
    if (known !== agents) throw new BelayError("bench-storm", `belayd knows ${known} of ${agents} agents again`);
  }

  async #cpuMs(): Promise<{ belayd: number; agents: number }> {
    const [belayd, agents] = await Promise.all([cpuMsOf(this.belayd.pid), this.#crowd.cpuMs()]);
    return { belayd, agents };
  }

  async #eventsOf(run: string): Promise<RunEvent[]> {
    const all: RunEvent[] = [];
    for (let after = 0; ; ) {
      const { events } = await this.belayd.api.events(run, after);
      all.push(...events.map(({ event }) => event as unknown as RunEvent));
      if (events.length < EVENTS_PER_PAGE) return all;
      after = events.at(-1)?.seq ?? after;
    }
  }

  stop(): Promise<void> {
    return this.#tidy();
  }
}
