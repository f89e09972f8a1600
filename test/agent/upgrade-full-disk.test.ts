import { once } from "node:events";
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { until } from "../support/real-fleet/until.js";
import { NEW, OLD, SelfWorld } from "./support/self-world.js";
import { LACKS, noSmallDisks, SmallDisk } from "./support/small-disk.js";

/** For what takes a moment on a quiet machine. */
const A_MINUTE_MS = 60_000;

/** Each story starts several programs, on a machine that others use too. */
const real = { timeout: 180_000, skip: noSmallDisks };
t.setTimeout(600_000);

/** Two agents of a megabyte or two, and their links. */
const AGENT_DISK = { bytes: 32_000_000 };
const PAGE_BYTES = 4096;
/** Less than any record takes. */
const CRUMB_BYTES = 16;
/** Ends of steps' names. */
const SHORT = 3;
const LONG = 230;

for (const lack of LACKS) {
  t.test(`no ${lack} for the agent's upgrade: nothing is touched, and with room it is done`, real, async (t) => {
    const world = await SelfWorld.make(t);
    const { controller } = world;
    const disks = {
      state: SmallDisk.mount(t, world.stateDir),
      agent: SmallDisk.mount(t, dirname(world.link), AGENT_DISK),
    };
    world.supervise();
    await controller.connected();
    for (const disk of Object.values(disks)) {
      disk.fill(lack);
      t.match(await controller.step(world.op()), {
        status: "failed",
        retryable: true,
        error: { code: "disk-full", message: new RegExp(`${disk.at}.*\\b0 ${lack}`) },
      });
      t.equal(world.installed(), OLD);
      t.notOk(world.has("pending"));
      t.same(world.linksAndLeftovers(), ["current"]);
      disk.empty();
    }
    t.match(await controller.step(world.op()), { status: "done", result: { running: NEW } });
    t.same(world.linksAndLeftovers(), ["current", "previous"]);
    t.same(world.dialled(), [OLD, NEW]);
  });
}

t.test(
  "a version that holds and can't write that down yet: no failure, and no success either (I7)",
  real,
  async (t) => {
    const world = await SelfWorld.make(t);
    const { controller } = world;
    const disk = SmallDisk.mount(t, world.stateDir);
    world.supervise();
    await controller.connected();
    const step = controller.id();
    controller.send(world.op({ settleMs: 6000, returnMs: 30_000 }), { step });
    await controller.until(() => world.dialled().includes(NEW));
    await fillJournalPage(world);
    disk.fill("bytes");
    await controller.until(() => controller.all("progress").some(({ note }) => /written down yet/.test(note)));
    t.notOk(
      controller.all("outcome").some((each) => each.step === step),
      "nothing is said of what is not on disk",
    );
    t.ok(world.has("pending"), "and its watcher is there still");
    disk.empty();
    t.match((await controller.outcome(step)).outcome, { status: "done", result: { running: NEW } });
    t.notOk(world.has("pending"));
    t.same(world.linksAndLeftovers(), ["current", "previous"]);
  },
);

t.test("where that can't be written down in time, the old version is back", real, async (t) => {
  const world = await SelfWorld.make(t);
  const { controller } = world;
  const disk = SmallDisk.mount(t, world.stateDir);
  world.supervise();
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ settleMs: 6000, returnMs: 12_000 }), { step });
  await controller.until(() => world.dialled().includes(NEW));
  await fillJournalPage(world);
  disk.fill("bytes");
  await controller.until(() => world.dialled().at(-1) === OLD);
  t.equal(world.installed(), OLD);
  disk.empty();
  t.match((await controller.outcome(step)).outcome, { status: "reverted", error: { code: "agent-not-back" } });
  t.notOk(world.has("pending") || world.has("returning") || world.has("returned"));
});

t.test("a version that doesn't hold is taken back on disks on which nothing can be made any more", real, async (t) => {
  const world = await SelfWorld.make(t, { new: "hangs" });
  const { controller } = world;
  const disks = [SmallDisk.mount(t, world.stateDir), SmallDisk.mount(t, dirname(world.link), AGENT_DISK)];
  const supervisor = world.supervise();
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ returnMs: 5000 }), { step });
  await until(async () => world.installed() === NEW, "the link leads to the new version", A_MINUTE_MS);
  for (const disk of disks) for (const lack of LACKS) disk.fill(lack);
  // As a machine that starts again would: also the watcher of before is gone.
  supervisor.kill("SIGKILL");
  await once(supervisor, "exit");
  world.endAgents();
  const hellos = controller.all("hello").length;
  world.supervise();
  await controller.until(() => controller.all("hello").length > hellos);
  t.equal(controller.all("hello").at(-1)?.agentVersion, OLD);
  t.equal(world.installed(), OLD);
  for (const disk of disks) disk.empty();
  t.match((await controller.outcome(step)).outcome, { status: "reverted", error: { code: "agent-not-back" } });
  t.match(await controller.step({ kind: "noop" }), { status: "done" }, "at work as before");
});

/** Leaves next to no room at the end of what the journal has of its disk: what comes next takes another page. */
async function fillJournalPage({ controller, stateDir }: SelfWorld): Promise<void> {
  const size = () => statSync(join(stateDir, "journal")).size;
  let steps = 0;
  /** A record is as much longer as its step's name is. */
  const accept = async (tail: number) => {
    const step = `run/stage/host/${String(steps).padStart(tail, "x")}`;
    steps += 1;
    controller.send({ kind: "noop" }, { step });
    await controller.until(() => controller.all("accepted").some((each) => each.step === step));
  };
  const before = size();
  await accept(SHORT);
  const bare = size() - before - SHORT;
  for (;;) {
    const left = PAGE_BYTES - (size() % PAGE_BYTES);
    if (left <= CRUMB_BYTES) return;
    const exact = left - bare - CRUMB_BYTES / 2;
    await accept(exact >= SHORT && exact <= LONG ? exact : SHORT);
  }
}
