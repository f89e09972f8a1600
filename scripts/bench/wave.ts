import type { Plan } from "@belay/controller/plan/plan";
import type { Memory } from "./fleet/belayd.js";
import { BenchFleet, type Timing } from "./fleet/index.js";
import type { Identification } from "./fleet/known-hosts.js";
import { hostNames, noopPlan } from "./fleet/plan.js";
import { loadNow } from "./machine.js";
import { figure, table } from "./screen.js";
import { median, percentile } from "./statistics.js";

export interface Wave {
  readonly steps: number;
  /** From the first decision to the last acknowledgement. */
  readonly stepsPerSecond: number;
  /** Per step, milliseconds: decided on -> its agent heard that its outcome is on belayd's disk. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time per step, microseconds: belayd's, and its agent's. */
  readonly belaydUs: number;
  readonly agentUs: number;
  readonly load: string;
}

export interface WaveResult {
  readonly agents: number;
  readonly by: Identification;
  readonly burst: readonly Wave[];
  readonly program: readonly Wave[];
  /** What one connected agent costs belayd, bytes. */
  readonly perAgent: Memory;
  readonly memory: { readonly alone: Memory; readonly connected: Memory; readonly afterWaves: Memory };
}

/** The engine compiles what is hot; a belayd that has been up for a while has that behind it. */
const WARM_UPS = 2;
const WAVES = 5;
const STEPS_PER_HOST = 10;
const PROGRAM_WAVES = 3;

/** A no-op to all agents at once, several times; then a program of ten each. */
export async function benchWaves(agents: number, by: Identification): Promise<WaveResult> {
  const hosts = hostNames(agents);
  const single = noopPlan(hosts, 1);
  const program = noopPlan(hosts, STEPS_PER_HOST);
  let alone: Memory = { live: 0, resident: 0 };
  const fleet = await BenchFleet.start({
    agents,
    by,
    plans: [single, program],
    beforeAgents: async (belayd) => {
      alone = await belayd.memory();
    },
  });
  try {
    const connected = await fleet.belayd.memory();
    await carryOutAll(fleet, single, 1, WARM_UPS);
    const burst = await carryOutAll(fleet, single, 1, WAVES);
    const programWaves = await carryOutAll(fleet, program, STEPS_PER_HOST, PROGRAM_WAVES);
    const afterWaves = await fleet.belayd.memory();
    const perAgent = {
      live: (connected.live - alone.live) / agents,
      resident: (connected.resident - alone.resident) / agents,
    };
    return { agents, by, burst, program: programWaves, perAgent, memory: { alone, connected, afterWaves } };
  } finally {
    await fleet.stop();
  }
}

async function carryOutAll(fleet: BenchFleet, plan: Plan, perHost: number, times: number): Promise<Wave[]> {
  const waves: Wave[] = [];
  for (let round = 0; round < times; round += 1) waves.push(waveOf(await fleet.carryOut(plan, perHost)));
  return waves;
}

function waveOf({ steps, belaydCpuMs, agentsCpuMs }: Timing): Wave {
  const latencies = steps.map(({ intendedAt, acknowledgedAt }) => acknowledgedAt - intendedAt);
  const first = steps.reduce((least, { intendedAt }) => Math.min(least, intendedAt), Number.POSITIVE_INFINITY);
  const last = steps.reduce((most, { acknowledgedAt }) => Math.max(most, acknowledgedAt), 0);
  return {
    steps: steps.length,
    stepsPerSecond: (steps.length * 1_000) / (last - first),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    belaydUs: (belaydCpuMs * 1_000) / steps.length,
    agentUs: (agentsCpuMs * 1_000) / steps.length,
    load: loadNow(),
  };
}

/** In words for people. */
export const BY: Readonly<Record<Identification, string>> = {
  token: "by tokens in the clear",
  certificate: "over mutual TLS",
};

export function showWaves({ agents, by, burst, program, perAgent, memory }: WaveResult): string[] {
  return [
    `wave of a no-op to ${figure(agents)} agents ${BY[by]}, durable on both ends`,
    ...table([
      ["  wave", "steps", "steps/s", "p50 ms", "p99 ms", "belayd CPU us", "agent CPU us", "load"],
      ...rowsOf("one step each", burst),
      ...rowsOf("ten steps each", program),
    ]),
    "",
    ...table([
      ["  belayd's memory", "live", "resident"],
      memoryRow("alone, MiB", memory.alone, 2 ** 20),
      memoryRow(`with ${figure(agents)} agents, MiB`, memory.connected, 2 ** 20),
      memoryRow("after the waves, MiB", memory.afterWaves, 2 ** 20),
      memoryRow("for each agent, KiB", perAgent, 2 ** 10),
    ]),
  ];
}

function memoryRow(name: string, { live, resident }: Memory, unit: number): string[] {
  return [`  ${name}`, figure(live / unit, 1), figure(resident / unit, 1)];
}

function rowsOf(name: string, waves: readonly Wave[]): string[][] {
  const middle = (of: (wave: Wave) => number) => median(waves.map(of));
  return [
    ...waves.map((wave, index) => rowOf(`${name}, ${index + 1}`, wave)),
    rowOf(`${name}, median`, {
      steps: middle((wave) => wave.steps),
      stepsPerSecond: middle((wave) => wave.stepsPerSecond),
      p50Ms: middle((wave) => wave.p50Ms),
      p99Ms: middle((wave) => wave.p99Ms),
      belaydUs: middle((wave) => wave.belaydUs),
      agentUs: middle((wave) => wave.agentUs),
      load: "",
    }),
  ];
}

function rowOf(name: string, { steps, stepsPerSecond, p50Ms, p99Ms, belaydUs, agentUs, load }: Wave): string[] {
  return [`  ${name}`, ...[steps, stepsPerSecond, p50Ms, p99Ms, belaydUs, agentUs].map((value) => figure(value)), load];
}
