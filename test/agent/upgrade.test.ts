import { once } from "node:events";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import type { AgentBehaviour } from "../support/agents/build-agent.js";
import { until } from "../support/real-fleet/until.js";
import { NEW, NEWER, OLD, SelfWorld } from "./support/self-world.js";

/** For what takes a moment on a quiet machine. */
const A_MINUTE_MS = 60_000;

/** Each story starts several programs, on a machine that others use too. */
const patient = { timeout: 180_000 };
t.setTimeout(600_000);

t.test("a new version that holds says so itself (I8)", patient, async (t) => {
  const world = await SelfWorld.make(t);
  const { controller } = world;
  world.supervise();
  t.match(await controller.step(world.op(), { check: true }), { status: "done", result: { would: /0\.2\.0/ } });
  const step = controller.id();
  const outcome = await controller.step(world.op(), { step });
  t.same(outcome, { status: "done", changed: true, result: { from: OLD, to: NEW, running: NEW } });
  t.same(world.dialled(), [OLD, NEW]);
  t.equal(world.installed(), NEW);
  t.notOk(world.has("pending") || world.has("returned"), "nobody goes back any more");
  const told = controller.told.length;
  controller.send({ kind: "noop" }, { step });
  t.same((await controller.outcome(step, told)).outcome, outcome, "repeated, it is answered and not done (I7)");
  t.match(await controller.step(world.op()), { status: "done", changed: false }, "there already");
  t.match(await controller.step(world.op({ from: NEW, to: OLD })), { result: { running: OLD } }, "and back again");
  t.same(world.dialled(), [OLD, NEW, OLD]);
});

const bad: Record<string, { behaviour: AgentBehaviour; why: RegExp }> = {
  "ends at once": { behaviour: "ends", why: /0\.2\.0 did not hold within/ },
  "hangs without dialling": { behaviour: "hangs", why: /0\.2\.0 did not hold within/ },
  "speaks no protocol of ours": { behaviour: "babbles", why: /did not hold within 5 s: .*not 98, but 2/ },
};
for (const [what, { behaviour, why }] of Object.entries(bad)) {
  t.test(`a new version that ${what} is taken back, and the old one says so`, patient, async (t) => {
    const world = await SelfWorld.make(t, { new: behaviour });
    const { controller } = world;
    world.supervise();
    const outcome = await controller.step(world.op({ returnMs: 5000 }));
    t.match(outcome, { status: "reverted", error: { code: "agent-not-back", message: why } });
    t.equal(world.dialled().at(-1), OLD);
    t.equal(world.installed(), OLD);
    t.notOk(world.has("pending") || world.has("returning") || world.has("returned"));
    t.match(await controller.step({ kind: "noop" }), { status: "done" }, "at work as before");
  });
}

t.test("where the controller can't be reached at that moment, the old version returns", patient, async (t) => {
  const world = await SelfWorld.make(t);
  const { controller } = world;
  world.supervise();
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ returnMs: 5000 }), { step });
  await controller.until(() => controller.all("accepted").length > 0);
  controller.closedDoor = true;
  await controller.until(() => controller.knocks > 0 && world.records().includes("trouble"));
  await until(
    async () => world.has("returned") || world.has("returning"),
    "somebody takes the upgrade back",
    A_MINUTE_MS,
  );
  controller.closedDoor = false;
  t.match((await controller.outcome(step)).outcome, { status: "reverted", error: { code: "agent-not-back" } });
  t.equal(world.installed(), OLD);
});

t.test("what would not do is found before anything is touched", patient, async (t) => {
  const world = await SelfWorld.make(t);
  const { controller } = world;
  world.supervise();
  const drifted = { status: "failed", retryable: false, error: { code: "drift" } };
  t.match(await controller.step(world.op({ from: "0.0.9" })), drifted);
  t.match(await controller.step(world.op({ to: "9.9.9" })), { error: { code: "version-missing" } });
  t.match(await controller.step(world.op({ sha256: "f".repeat(64) })), { error: { code: "digest-mismatch" } });
  t.match(await controller.step(world.op({ link: "/opt/elsewhere/current" })), { error: { code: "path-refused" } });
  writeFileSync(join(world.versionsDir, NEW, "good.mjs"), 'console.log("0.2.1")');
  t.match(await controller.step(world.op()), { error: { code: "agent-unusable", message: /0\.2\.1/ } });
  writeFileSync(
    join(world.versionsDir, NEW, "good.mjs"),
    'if (process.argv[2] !== "--version") process.exit(1); console.log("0.2.0")',
  );
  t.match(await controller.step(world.op()), { error: { code: "agent-unusable", message: /can't read/ } });
  t.equal(world.installed(), OLD);
  t.same(world.dialled(), [OLD]);
  t.notOk(world.has("pending"));
});

t.test("an agent that nobody starts again does not end itself", patient, async (t) => {
  const world = await SelfWorld.make(t);
  const { controller } = world;
  const supervisor = world.supervise();
  await controller.connected();
  // Whoever should watch is stopped, so it promises nothing.
  supervisor.kill("SIGSTOP");
  t.match(await controller.step(world.op()), { status: "failed", error: { code: "rescue-not-ready" } });
  supervisor.kill("SIGCONT");
  t.equal(world.installed(), OLD);
  t.notOk(world.has("pending"));
  const other = await SelfWorld.make(t);
  writeFileSync(other.configFile, other.config("none"));
  const lonely = other.alone();
  t.match(await other.controller.step(other.op()), { status: "failed", error: { code: "self-unsupervised" } });
  lonely.kill("SIGTERM");
});

const KILLED = fileURLToPath(new URL("support/killed-agent.ts", import.meta.url));
for (const record of ["accepted", "begun", "arming", "switching", "held", "outcome"]) {
  for (const when of ["before", "after"] as const) {
    t.test(`killed ${when} ${record}, the next life ends it (I7, I14)`, patient, async (t) => {
      const killed = { entry: KILLED };
      const world = await SelfWorld.make(t, { old: killed, new: killed });
      const { controller } = world;
      const marker = join(world.dir, "killed");
      world.supervise({ KILL_AT: record, KILL_WHEN: when, KILL_ONCE: marker });
      await controller.connected();
      const step = controller.id();
      const send = () => controller.send(world.op({ returnMs: 30_000 }), { step });
      send();
      await until(async () => existsSync(marker), "the kill", A_MINUTE_MS);
      // Before it was accepted nobody knows of the step but the controller, which sends it again.
      controller.socket = null;
      if (record === "accepted" && when === "before") await controller.connected().then(send);
      t.match((await controller.outcome(step)).outcome, { status: "done", result: { running: NEW } });
      t.equal(world.installed(), NEW);
      t.notOk(world.has("pending") || world.has("returning") || world.has("returned"));
      t.same(world.records().filter((each) => each === "outcome").length, 1);
    });
  }
}

t.test("killed on its way back, the old version still says that it is", patient, async (t) => {
  const world = await SelfWorld.make(t, { old: { entry: KILLED }, new: "ends" });
  const { controller } = world;
  const marker = join(world.dir, "killed");
  world.supervise({ KILL_AT: "outcome", KILL_WHEN: "before", KILL_ONCE: marker });
  t.match(await controller.step(world.op({ returnMs: 5000 })), { status: "reverted" });
  t.ok(existsSync(marker));
  t.equal(world.installed(), OLD);
});

t.test("the watcher killed in the middle is no reason to stay with a version that doesn't hold", patient, async (t) => {
  const world = await SelfWorld.make(t, { new: "hangs" });
  const { controller } = world;
  const supervisor = world.supervise();
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ returnMs: 5000 }), { step });
  await until(async () => world.installed() === NEW, "the link leads to the new version", A_MINUTE_MS);
  supervisor.kill("SIGKILL");
  await once(supervisor, "exit");
  // As a machine that starts again would: everything that ran is gone, and the supervisor comes up by itself.
  world.endAgents();
  world.supervise();
  t.match((await controller.outcome(step)).outcome, { status: "reverted" });
  t.equal(world.installed(), OLD);
});

t.test("a package's version that comes while the new one proves itself stays", patient, async (t) => {
  const world = await SelfWorld.make(t);
  await world.layOut(NEWER);
  const { controller } = world;
  world.supervise();
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ settleMs: 30_000, returnMs: 40_000 }), { step });
  await controller.until(() => world.dialled().includes(NEW));
  world.leadTo(NEWER);
  world.endAgents();
  t.match((await controller.outcome(step)).outcome, { status: "failed", error: { code: "drift", message: /0\.3\.0/ } });
  t.notOk(world.has("pending"), "nobody is taken back from a step that is over");
  t.same(world.linksAndLeftovers(), ["current", "previous"]);
  t.equal(world.installed(), NEWER);
  t.match(await controller.step({ kind: "noop" }), { status: "done" });
});

/** What a package may bring between the arming and the switch, and how the step ends then. */
const brought = {
  [NEW]: { status: "done", changed: false, result: { running: NEW } },
  [NEWER]: { status: "failed", error: { code: "drift" } },
};
for (const [version, end] of Object.entries(brought)) {
  t.test(`a package's ${version} that comes while the watcher gets ready stays (I8)`, patient, async (t) => {
    const { world, step } = await killedAt("switching", "before", t);
    await world.layOut(NEWER);
    world.leadTo(version);
    world.supervise();
    t.match((await world.controller.outcome(step)).outcome, end);
    t.notOk(world.has("pending"), "nobody is taken back from a step that is over");
    t.same(world.linksAndLeftovers(), ["current", "previous"]);
    t.equal(world.installed(), version);
  });
}

t.test(
  "a package's version that comes when the time is over already is taken back, and nothing said of it",
  patient,
  async (t) => {
    const { world, step } = await killedAt("switching", "after", t);
    const { controller } = world;
    await world.layOut(NEWER);
    world.leadTo(NEWER);
    world.takeBack();
    const alone = world.alone();
    await controller.until(() => world.dialled().includes(NEWER));
    t.equal(await Promise.race([controller.outcome(step), sleep(2000, "waits for its end")]), "waits for its end");
    alone.kill("SIGKILL");
    await once(alone, "exit");
    world.supervise();
    t.match((await controller.outcome(step)).outcome, { status: "reverted" });
    t.equal(world.installed(), OLD);
  },
);

t.test(
  "a package that was removed and put on again takes the way back along, and leaves no step to it",
  patient,
  async (t) => {
    for (const [version, end] of Object.entries({
      [OLD]: { status: "failed", error: { code: "version-missing" } },
      [NEW]: { status: "done", result: { running: NEW } },
      [NEWER]: { status: "failed", error: { code: "drift" } },
    })) {
      for (const left of ["pending", "returning"] as const) {
        const { world, step } = await killedAt("switching", "after", t);
        if (left === "returning") world.takeBack();
        rmSync(join(world.dir, "agent"), { recursive: true });
        await world.layOut(version);
        world.leadTo(version);
        // With the package's units nobody could watch now, so nobody does here.
        world.alone();
        const outcome = (await world.controller.outcome(step)).outcome;
        t.match(outcome, left === "returning" && version === OLD ? { status: "reverted" } : end, `${version}, ${left}`);
        t.notOk(world.has("pending") || world.has("returning"));
        t.equal(world.installed(), version);
        t.same(world.linksAndLeftovers(), ["current"]);
      }
    }
  },
);

/** A host whose agent was killed at a record of its upgrade, and whose watcher is gone as well. */
async function killedAt(
  record: string,
  when: "before" | "after",
  t: Test,
): Promise<{ world: SelfWorld; step: string }> {
  const world = await SelfWorld.make(t, { old: { entry: KILLED } });
  const { controller } = world;
  const marker = join(world.dir, "killed");
  const supervisor = world.supervise({ KILL_AT: record, KILL_WHEN: when, KILL_ONCE: marker });
  await controller.connected();
  const step = controller.id();
  controller.send(world.op({ returnMs: 30_000 }), { step });
  await until(async () => existsSync(marker), "the kill", A_MINUTE_MS);
  supervisor.kill("SIGKILL");
  await once(supervisor, "exit");
  // It may have started the agent anew in that moment.
  world.endAgents();
  controller.socket = null;
  return { world, step };
}
