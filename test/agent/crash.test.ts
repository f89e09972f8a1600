import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Op, OpOf } from "@belay/shared";
import t, { type Test } from "tap";
import { type Mode, World } from "./support/world.js";

type When = "before" | "after";
const KILLED = fileURLToPath(new URL("./support/killed-agent.ts", import.meta.url));

/** Kills a real agent at one record of a swap's journal, starts another, and gives the swap's outcome. */
async function killedAt(
  t: Test,
  at: { record: string; when: When; mode: Mode; op?: Partial<OpOf<"swap">>; snapshot?: boolean },
) {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0", at.mode);
  world.linkTo("5.0.0");
  world.initially = "running";
  await world.start();
  await world.controller.step(world.startOp());
  await world.stop();

  const snapshot = {
    id: "snap",
    dir: join(world.dir, "backups"),
    version: "5.0.0",
    items: [{ kind: "file" as const, path: join(world.home, "data"), optional: false }],
  };
  const op = world.swapOp("5.0.0", "6.0.0", { ...(at.snapshot ? { snapshot } : {}), ...at.op });
  return { world, ...(await killedIn(world, op, at)) };
}

/** The same with any op, in a world whose agent is stopped. */
async function killedIn(world: World, op: Op, at: { record: string; when: When }) {
  const victim = world.spawn(["--import=tsx", KILLED], { KILL_AT: at.record, KILL_WHEN: at.when });
  const { controller } = world;
  controller.socket = null;
  await controller.connected();
  const step = controller.id();
  controller.send(op, { step });
  const [code, signal] = await once(victim, "exit");
  if (signal !== "SIGKILL") throw new Error(`never got to ${at.when} ${at.record}: ${code}`);

  controller.socket = null;
  const told = controller.told.length;
  await world.start();
  await controller.connected();
  // What the dead agent never wrote down, the controller sends again (I7).
  controller.send(op, { step });
  const { outcome } = await controller.outcome(step, told);
  return { outcome, step };
}

const FORWARD = [
  "accepted",
  "begun",
  "stopping",
  "stopped",
  "snapshotting",
  "snapshot",
  "switching",
  "starting",
  "started",
  "healthy",
  "outcome",
];
const BACK = ["reverting", "back-restored", "back-switched", "back-started"];
/** Each case starts several processes; many of them on two shared cores. */
const patient = { timeout: 600_000 };
t.setTimeout(600_000);

function everyKill(t: Test, records: string[], attack: (t: Test, record: string, when: When) => Promise<void>) {
  for (const record of records) {
    for (const when of ["before", "after"] as const) {
      t.test(`${when} ${record}`, patient, (t) => attack(t, record, when));
    }
  }
  t.end();
}

t.test("killed at any record of a good swap, the next life ends it (I7, I14)", patient, (t) =>
  everyKill(t, FORWARD, async (t, record, when) => {
    const { world, outcome, step } = await killedAt(t, { record, when, mode: "ok", snapshot: true });
    t.match(outcome, { status: "done", changed: true, result: { running: "6.0.0" } });
    t.same([world.startsOf("5.0.0"), world.startsOf("6.0.0")], [1, 1], "each version was started once");
    t.equal(world.servicePids().length, 1);
    t.equal(readlinkSync(world.link), join(world.versionsDir, "6.0.0"));
    const told = world.controller.told.length;
    world.controller.send({ kind: "noop" }, { step });
    t.same((await world.controller.outcome(step, told)).outcome, outcome, "repeated, it is answered and not done");
  }),
);

t.test("killed at any record of a reload, the new version is started once", patient, (t) =>
  everyKill(t, ["switching", "starting", "started"], async (t, record, when) => {
    // Killed right after `starting` was noted, nobody knows whether the signal went out: a restart is the safe answer.
    const op = { how: "reload" as const, startTimeoutMs: 5000 };
    const { world, outcome } = await killedAt(t, { record, when, mode: "ok", op });
    t.match(outcome, { status: "done", changed: true, result: { running: "6.0.0" } });
    t.equal(world.startsOf("6.0.0"), 1);
  }),
);

t.test("killed at the end of a prune, the next life tells what is gone (I14)", patient, (t) =>
  everyKill(t, ["pruning", "outcome"], async (t, record, when) => {
    const world = await World.make(t);
    await world.start();
    const dir = join(world.dir, "backups");
    for (const id of ["b1", "b2", "b3"]) {
      await world.controller.step({ kind: "backup", spec: { id, dir, items: [], version: null } });
    }
    await world.stop();
    const { versionsDir, link } = world;
    const prune: Op = { kind: "prune", versionsDir, link, keep: [], backupsDir: dir, keepBackups: 1 };
    const { outcome } = await killedIn(world, prune, { record, when });
    t.match(outcome, { status: "done", changed: true, result: { backups: ["b2", "b1"] } });
    t.same(readdirSync(dir), ["b3"]);
  }),
);

t.test("killed at any record of the way back, the next life goes back all the way (I10, I14)", patient, (t) =>
  everyKill(t, BACK, async (t, record, when) => {
    const op = { startTimeoutMs: 600 };
    const { world, outcome } = await killedAt(t, { record, when, mode: "never-ready", op, snapshot: true });
    t.match(outcome, { status: "reverted", error: { code: "unhealthy" } });
    t.same([world.startsOf("5.0.0"), world.startsOf("6.0.0")], [2, 1], "the old one came back once");
    t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
    t.equal(world.data(), "written by 5.0.0");
  }),
);
