import { type Aftermath, BenchFleet, type Blow } from "./fleet/index.js";
import type { Identification } from "./fleet/known-hosts.js";
import { mustHaveRoom } from "./fleet/room.js";
import type { Failures } from "./fleet/talk.js";
import { loadNow } from "./machine.js";
import { figure, table } from "./screen.js";
import { median, percentile } from "./statistics.js";
import { BY } from "./wave.js";

export interface Storm extends Blow {
  readonly by: Identification;
  /** Agents that came back in time; where that is not all of them, what follows is of those that did. */
  readonly back: number;
  /** From the blow until belayd served again, milliseconds; null: it was not down. */
  readonly downMs: number | null;
  /** From the blow until half of them, and the last, were welcomed and had told what is on their hosts. */
  readonly halfMs: number;
  readonly lastMs: number;
  /** Of that: waited by the agents' own choice, on average, and by the one that waited longest. */
  readonly backoffMs: number;
  readonly longestBackoffMs: number;
  /** Dials of each agent on average; what is above 1 came to nothing. */
  readonly dials: number;
  readonly failures: Failures;
  /** Processor time for each agent that came back, microseconds: the figure that hangs least on the machine's other work. */
  readonly belaydUs: number;
  readonly agentUs: number;
  /** belayd's memory, garbage collected, bytes. */
  readonly residentBefore: number;
  readonly residentAfter: number;
  readonly load: string;
}

export interface StormResult {
  readonly agents: number;
  /** Taken off the processor time of a belayd that was started again: what its first start took. */
  readonly startCpuMs: Readonly<Record<Identification, number>>;
  readonly storms: readonly Storm[];
}

const IDENTIFICATIONS = ["token", "certificate"] as const;
const BLOWS = [
  { strike: "cut", backoff: true },
  { strike: "cut", backoff: false },
  { strike: "restart", backoff: true },
] as const satisfies readonly Blow[];
const ROUNDS = 3;

/** All agents lose their connection at once and come back: by tokens, then over mutual TLS. */
export async function benchStorms(agents: number): Promise<StormResult> {
  // The larger of the two, before minutes go into the smaller.
  await mustHaveRoom(agents, "certificate");
  const startCpuMs: Record<Identification, number> = { token: 0, certificate: 0 };
  const storms: Storm[] = [];
  for (const by of IDENTIFICATIONS) {
    const fleet = await BenchFleet.start({ agents, by, plans: [] });
    try {
      startCpuMs[by] = fleet.belayd.startCpuMs;
      storms.push(...(await stormsOver(fleet, by)));
    } finally {
      await fleet.stop();
    }
  }
  return { agents, startCpuMs, storms };
}

async function stormsOver(fleet: BenchFleet, by: Identification): Promise<Storm[]> {
  const storms: Storm[] = [];
  // A look at memory takes longer than a connection must last for the next back-off to begin anew.
  let { resident: residentBefore } = await fleet.belayd.memory();
  for (const blow of BLOWS) {
    for (let round = 0; round < ROUNDS; round += 1) {
      const aftermath = await fleet.storm(blow);
      const { resident: residentAfter } = await fleet.belayd.memory();
      storms.push({ ...blow, by, ...figuresOf(aftermath), residentBefore, residentAfter });
      residentBefore = residentAfter;
    }
  }
  return storms;
}

function figuresOf({ start, upAt, returns, failures, belaydCpuMs, agentsCpuMs }: Aftermath) {
  const times = returns.flatMap(({ toldAt }) => (toldAt === null ? [] : [toldAt - start]));
  const backoffs = returns.map(({ backoffMs }) => backoffMs);
  const back = Math.max(1, times.length);
  return {
    back: times.length,
    downMs: upAt === null ? null : upAt - start,
    halfMs: times.length === 0 ? 0 : median(times),
    lastMs: times.length === 0 ? 0 : percentile(times, 1),
    backoffMs: mean(backoffs),
    longestBackoffMs: percentile(backoffs, 1),
    dials: mean(returns.map(({ dials }) => dials)),
    failures,
    belaydUs: (belaydCpuMs * 1_000) / back,
    agentUs: (agentsCpuMs * 1_000) / back,
    load: loadNow(),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

export function showStorms({ agents, startCpuMs, storms }: StormResult): string[] {
  const of = (blow: Blow, by: Identification) =>
    storms.filter((storm) => storm.strike === blow.strike && storm.backoff === blow.backoff && storm.by === by);
  const inOrder = BLOWS.flatMap((blow) => IDENTIFICATIONS.map((by) => of(blow, by)));
  return [
    `${figure(agents)} agents lose their connection at once, medians of ${ROUNDS}`,
    ...table([
      [
        "  storm",
        "belayd CPU us",
        "agent CPU us",
        "half back s",
        "all back s",
        "of it back-off s",
        "longest",
        "dials each",
      ],
      ...inOrder.map(costRow),
    ]),
    "",
    ...table([
      ["  each storm", "back", "belayd CPU us", "belayd down s", "all back s", "resident MiB before", "after", "load"],
      ...inOrder.flat().map(stormRow),
    ]),
    "",
    "  CPU is for each agent that came back; of a belayd that was started again, less that of a start alone",
    `  (${IDENTIFICATIONS.map((by) => `${figure(startCpuMs[by])} ms ${BY[by]}`).join(", ")})`,
    ...failureLines(storms),
  ];
}

function costRow(rounds: readonly Storm[]): string[] {
  const middle = (of: (storm: Storm) => number) => median(rounds.map(of));
  const seconds = (of: (storm: Storm) => number) => figure(middle(of) / 1_000, 2);
  return [
    `  ${nameOf(rounds[0])}`,
    figure(middle(({ belaydUs }) => belaydUs)),
    figure(middle(({ agentUs }) => agentUs)),
    seconds(({ halfMs }) => halfMs),
    seconds(({ lastMs }) => lastMs),
    seconds(({ backoffMs }) => backoffMs),
    seconds(({ longestBackoffMs }) => longestBackoffMs),
    figure(
      middle(({ dials }) => dials),
      2,
    ),
  ];
}

function stormRow(storm: Storm): string[] {
  const { back, belaydUs, downMs, lastMs, residentBefore, residentAfter, load } = storm;
  return [
    `  ${nameOf(storm)}`,
    figure(back),
    figure(belaydUs),
    downMs === null ? "-" : figure(downMs / 1_000, 2),
    figure(lastMs / 1_000, 2),
    figure(residentBefore / 2 ** 20, 1),
    figure(residentAfter / 2 ** 20, 1),
    load,
  ];
}

function nameOf(storm: Storm | undefined): string {
  if (storm === undefined) return "";
  const { strike, backoff, by } = storm;
  const what = strike === "cut" ? "connections cut" : "belayd killed";
  return `${what}${backoff ? "" : ", no back-off"}, ${BY[by]}`;
}

/** Dials that came to nothing, by why. */
function failureLines(storms: readonly Storm[]): string[] {
  return storms.flatMap((storm) => {
    const whys = Object.entries(storm.failures).map(([why, count]) => `${why} (${figure(count)})`);
    return whys.length === 0 ? [] : [`  dials in vain, ${nameOf(storm)}: ${whys.join(", ")}`];
  });
}
