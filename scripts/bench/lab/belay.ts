import { setTimeout as sleep } from "node:timers/promises";
import type { RunEvent } from "@belay/controller/run/event";
import { type LabScene, TO } from "./scene.js";
import { cutOverOf, type StageTimes } from "./times.js";

/** Its times are from the run's own record: looking costs processor time that the stage needs, and only its gate waits for it. */
const LOOK_EVERY_MS = { gate: 100, end: 500 };
const PATIENCE_MS = 180_000;

export interface BelayTimes extends StageTimes {
  /** From the last host settled to the run's end: the cluster verified as a whole, which nobody else does. Not in `wholeMs`. */
  readonly verifyMs: number;
  /** Of which it waited for the approval of a gate, which nobody else has: taken off `wholeMs`. */
  readonly gateMs: number;
  /** Each stage of the plan, in order. */
  readonly stages: readonly { readonly stage: string; readonly ms: number }[];
}

/** Plans, and carries the plan out: `wholeMs` is from the request to start it to the last node settled. */
export async function byBelay(scene: LabScene, to: string = TO): Promise<BelayTimes> {
  const { api } = scene;
  const answer = await api.plan({ to, limit: scene.nodes.map(({ name }) => name) });
  if (!answer.ok) throw new Error(`the plan is blocked: ${JSON.stringify(answer.blocked)}`);
  const { id } = await api.start(answer.plan.id);
  const deadline = Date.now() + PATIENCE_MS;
  for (let lookEveryMs = LOOK_EVERY_MS.gate; ; ) {
    const { status, gate } = await api.run(id);
    if (status === "ended") break;
    if (gate?.status === "open" && gate.kind !== "failure") {
      await api.approve(id, gate.gate);
      lookEveryMs = LOOK_EVERY_MS.end;
    }
    if (gate?.kind === "failure" || Date.now() > deadline) throw new Error(`the run hangs: ${JSON.stringify(gate)}`);
    await sleep(lookEveryMs);
  }
  const events = (await api.events(id)).events.map(({ event }) => event as unknown as RunEvent);
  const first = events[0]?.at ?? 0;
  const last = events.at(-1);
  if (last?.type !== "run-ended" || last.result !== "done") throw new Error(`the run ends as ${JSON.stringify(last)}`);
  const stages = stageTimes(events);
  const settled = events.findLast((event) => event.type === "stage-finished" && event.stage.endsWith(".node"));
  if (settled === undefined) throw new Error(`no stage of nodes: ${JSON.stringify(stages)}`);
  const gateMs = gateTime(events);
  const spans = await Promise.all(scene.nodes.map((node) => cutOverOn(scene, node.name, id)));
  const wholeMs = settled.at - first - gateMs;
  return { wholeMs, verifyMs: last.at - settled.at, gateMs, stages, ...cutOverOf(spans) };
}

function gateTime(events: readonly RunEvent[]): number {
  const opened = events.find(({ type }) => type === "gate-opened")?.at;
  const passed = events.find(({ type }) => type === "gate-passed")?.at;
  return opened === undefined || passed === undefined ? 0 : passed - opened;
}

function stageTimes(events: readonly RunEvent[]): { stage: string; ms: number }[] {
  const times: { stage: string; ms: number }[] = [];
  for (const event of events) {
    if (event.type !== "stage-finished") continue;
    const begun = events.find((each) => each.type === "stage-started" && each.stage === event.stage)?.at ?? event.at;
    times.push({ stage: event.stage, ms: event.at - begun });
  }
  return times;
}

/** What the agent wrote down itself: when it was about to switch its link, and when it first found it healthy. */
async function cutOverOn(scene: LabScene, host: string, run: string): Promise<readonly [number, number]> {
  const journal = await scene.lab.machine(host).must(["cat", "/var/lib/belay-agent/journal"]);
  const at = (phase: string) => {
    const line = journal
      .split("\n")
      .findLast((each) => each.includes(`"step":"${run}/`) && each.includes(`"phase":"${phase}"`));
    return Number(/"at":(\d+)\}$/.exec(line ?? "")?.[1]);
  };
  return [at("switching"), at("healthy")];
}
