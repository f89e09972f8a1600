import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunView } from "@belay/controller/api/contract";
import type { ClusterOnDisk } from "../support/fleet-on-disk/index.js";
import { randomFrom } from "../support/random.js";
import { APPROVER } from "../support/real-fleet/api.js";
import { RealFleet } from "../support/real-fleet/index.js";
import type { BuiltRelease } from "../support/standin/build-release.js";

export const FROM = "5.4.2";
export const STOP = "6.2.31";
export const TO = "7.1.0";

/** Small, and with everything that can go wrong: shrunk auths, a host of two roles, a leaf. */
const CLUSTERS: readonly ClusterOnDisk[] = [
  {
    name: "main",
    ha: "shrink",
    hosts: [
      { name: "auth-1", roles: ["auth"] },
      { name: "auth-2", roles: ["auth"] },
      { name: "proxy-1", roles: ["proxy"] },
      { name: "node-1", roles: ["node"] },
    ],
  },
  {
    name: "eu",
    trusts: "main",
    ha: "shrink",
    hosts: [
      { name: "eu-1", roles: ["auth", "proxy"] },
      { name: "eu-node-1", roles: ["node"] },
    ],
  },
];

const UPGRADE_DEADLINE_MS = 180_000;
/** Between two kills, at most: about four to a stage of this fleet. */
const MAX_PAUSE_MS = 1_200;
/** How long a killed program stays dead, at most. */
const MAX_DEAD_MS = 700;

export interface Upgraded {
  readonly kills: readonly string[];
  readonly end: RunView;
  /** Gates whose approval belayd had acknowledged. */
  readonly approved: readonly string[];
  readonly events: readonly { readonly type: string; readonly [field: string]: unknown }[];
  readonly fleet: RealFleet;
}

/**
 * A whole upgrade over two majors while belayd and agents are killed at moments that follow from the seed. Calls `look`
 * with what came of it while the fleet still runs, then takes everything down.
 */
export async function upgradeUnderKills(
  seed: number,
  maxKills: number,
  releases: readonly BuiltRelease[],
  look: (upgraded: Upgraded) => Promise<void>,
): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "belay-crash-"));
  const rollout = { settle: "400ms", budget: { batch: 0, stage: 0 } };
  const fleet = await RealFleet.start({
    dir,
    clusters: CLUSTERS,
    version: FROM,
    releases,
    fleet: { rollout: { auth: rollout, proxy: { canary: 1, ...rollout }, node: { canary: 1, ...rollout } } },
  });
  try {
    const answer = await fleet.api.plan({ to: TO });
    if (!answer.ok) throw new Error(`blocked: ${JSON.stringify(answer.blocked)}`);
    const { id: run } = await fleet.api.start(answer.plan.id);
    // Who approves is made before anything is killed: of a user whose making was cut off, nobody knows the token.
    await fleet.api.as(APPROVER);
    const killer = killAtRandom(fleet, randomFrom(seed), maxKills);
    const approved: string[] = [];
    const end = await approveUntilEnd(fleet, run, approved);
    const kills = await killer.stop();
    await fleet.untilUp();
    await look({ kills, end, approved, events: await allEvents(fleet, run), fleet });
    return kills.length;
  } finally {
    await fleet.stop();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

function killAtRandom(fleet: RealFleet, random: () => number, maxKills: number): { stop(): Promise<string[]> } {
  const programs = [...fleet.agents.values()];
  const kills: string[] = [];
  let going = true;
  const work = (async () => {
    while (going && kills.length < maxKills) {
      await sleep(random() * MAX_PAUSE_MS);
      if (!going) return;
      const agent = programs[Math.floor(random() * programs.length)] ?? fleet.belayd;
      const victim = random() < 0.4 ? fleet.belayd : agent;
      await victim.kill();
      kills.push(victim.name);
      await sleep(random() * MAX_DEAD_MS);
      victim.start();
      if (victim === fleet.belayd) await fleet.untilUp();
    }
  })();
  return {
    async stop() {
      going = false;
      await work;
      return kills;
    },
  };
}

/** Approves what opens, through everything; ends with the run, or at a failure gate, which is for people. */
async function approveUntilEnd(fleet: RealFleet, run: string, approved: string[]): Promise<RunView> {
  const deadline = Date.now() + UPGRADE_DEADLINE_MS;
  let refused: unknown = null;
  const answered = answers((error) => {
    refused = error;
  });
  for (;;) {
    const view = await answered(() => fleet.api.run(run));
    if (view !== null) {
      if (view.status === "ended" || view.gate?.kind === "failure") return view;
      const { gate } = view;
      if (gate?.status === "open" && (await answered(() => fleet.api.approve(run, gate.gate))) !== null) {
        approved.push(gate.gate);
      }
      if (Date.now() > deadline) {
        throw new Error(`not over in time: ${JSON.stringify(view.waits)}`, { cause: refused });
      }
    }
    await sleep(60);
  }
}

const FORGIVABLE = ["already-decided", "gate-passed", "gate-closed", "run-ended", "run-not-here", "shutting-down"];

/** Null when belayd wasn't there to answer, or took the gate's approval and died before it could say so; `told` learns why. */
function answers(told: (error: unknown) => void): <T>(ask: () => Promise<T>) => Promise<T | null> {
  return async (ask) => {
    try {
      return await ask();
    } catch (error) {
      const { code } = error as { code?: string };
      if (!(error instanceof TypeError) && !FORGIVABLE.includes(code ?? "")) throw error;
      told(error);
      return null;
    }
  };
}

async function allEvents(fleet: RealFleet, run: string): Promise<Upgraded["events"]> {
  const all: { type: string }[] = [];
  for (let after = 0; ; ) {
    const { events } = await fleet.api.events(run, after);
    const last = events.at(-1);
    if (last === undefined) return all;
    all.push(...events.map(({ event }) => event));
    after = last.seq;
  }
}
