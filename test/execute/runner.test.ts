import { Runner } from "@belay/controller/execute/runner";
import type { Wait } from "@belay/controller/run/wait";
import { BelayError, done, failed } from "@belay/shared";
import t from "tap";
import { eventually, noopPlan, RUN, Scene } from "./scene.js";

const hosts = Array.from({ length: 20 }, (_, index) => `node-${index + 1}`);

t.test("I7: a step leaves only after its intent is on disk, an outcome is acknowledged only after it is", async (t) => {
  const scene = new Scene(noopPlan(hosts));
  scene.log.beforeDisk = () => {
    const intended = new Set(scene.log.ofType("step-intended").map((event) => "step" in event && event.step));
    const ended = new Set(scene.log.ofType("step-ended").map((event) => "step" in event && event.step));
    for (const { step } of scene.hosts.sent)
      if (!intended.has(step.step)) t.fail(`${step.step} left before its intent`);
    for (const step of scene.hosts.acknowledged) if (!ended.has(step)) t.fail(`${step} acknowledged too early`);
  };
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === hosts.length);
  scene.answerAll(runner);
  await eventually(() => scene.ended.length === 1);
  t.same(scene.ended, [`${RUN} done`]);
  t.equal(scene.hosts.acknowledged.length, hosts.length);
  t.ok(scene.log.appends < 10, `${hosts.length} steps took ${scene.log.appends} writes, not one each`);
});

t.test(
  "I14: a runner that is thrown away and taken up again at every moment repeats no step and loses none",
  async (t) => {
    const scene = new Scene(noopPlan(hosts, { parallel: 3 }));
    const effects = new Map<string, number>();
    for (let life = 0; scene.ended.length === 0 && life < 200; life += 1) {
      const runner = await scene.runner();
      await eventually(() => scene.hosts.sent.length > 0 || scene.ended.length > 0);
      for (const { host, step } of scene.hosts.sent.splice(0)) {
        // An agent acts once on an id, however often it is sent (its journal answers the repeats).
        effects.set(step.step, 1);
        runner.report({ host, step: step.step, outcome: done(true) });
      }
      scene.hosts.acknowledged.splice(0);
      // Half the lives end before what was reported is on disk.
      if (life % 2 === 0) await eventually(() => scene.hosts.acknowledged.length > 0 || scene.ended.length > 0);
      await runner.stop();
    }
    t.same(scene.ended, [`${RUN} done`]);
    t.equal(effects.size, hosts.length, "one step a host");
    const ended = scene.log.ofType("step-ended").map((event) => "step" in event && event.step);
    t.equal(new Set(ended).size, ended.length, "one end a step");
  },
);

t.test("after a restart steps in flight go out again under the same id", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const first = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  await first.stop();
  const second = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 2);
  t.equal(scene.hosts.sent[1]?.step.step, scene.hosts.sent[0]?.step.step);
  t.equal(scene.log.ofType("step-intended").length, 1);
  scene.answerAll(second);
  await eventually(() => scene.ended.length === 1);
});

t.test("I13: a new lease is on record before steps carry its number; without one nothing is sent", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  await (await scene.runner()).stop();
  scene.hosts.sent.splice(0);
  scene.lease.fence = 7;
  const runner = await scene.runner("belayd-2");
  await eventually(() => scene.hosts.sent.length === 1);
  t.equal(scene.hosts.sent[0]?.step.fence, 7);
  t.match(scene.log.ofType("lease-taken"), [{ owner: "belayd-2", fence: 7 }]);
  scene.lease.held = false;
  scene.answerAll(runner, failed({ code: "busy", message: "try again" }, true));
  await eventually(() => scene.log.ofType("step-ended").length === 1);
  scene.now += 60_000;
  runner.wake();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(scene.hosts.sent.length, 0, "the retry is left to whoever holds the lease");
  t.match(await waitsOf(runner), [{ code: "lease-lost" }]);
  await runner.stop();
});

t.test("I7: an agent that lost its journal leaves its steps unknown, never done", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  await runner.connected("node-1", true);
  t.equal(scene.log.ofType("step-ended").length, 1, "the loss is on disk before it may be forgotten");
  await eventually(() => scene.log.ofType("failure-opened").length === 1);
  t.match(scene.log.ofType("step-ended"), [{ outcome: { status: "unknown", error: { code: "journal-lost" } } }]);
  await runner.stop();
});

t.test("a repeated, a late and an invented outcome are acknowledged and change nothing", async (t) => {
  const scene = new Scene(noopPlan(["node-1", "node-2"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 2);
  const [first] = scene.hosts.sent;
  const step = first?.step.step ?? "";
  runner.report({ host: "node-1", step, outcome: done(false) });
  runner.report({ host: "node-1", step, outcome: failed({ code: "no", message: "no" }) });
  runner.report({ host: "node-2", step: `${RUN}/hop-1.main.verify/node-2/9/1`, outcome: done(false) });
  await eventually(() => scene.hosts.acknowledged.length === 3);
  t.equal(scene.log.ofType("step-ended").length, 1);
  await runner.stop();
});

t.test("an outcome counts only from the host it was asked of", async (t) => {
  const scene = new Scene(noopPlan(["node-1", "node-2"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 2);
  runner.report({ host: "node-2", step: scene.hosts.sent[0]?.step.step ?? "", outcome: done(false) });
  await eventually(() => scene.hosts.acknowledged.length === 1);
  t.equal(scene.log.ofType("step-ended").length, 0);
  await runner.stop();
});

t.test(
  "what the database refuses is not acted on; the run says why it waits, and goes on when it works again",
  async (t) => {
    const scene = new Scene(noopPlan(["node-1"]));
    const runner = await scene.runner();
    await eventually(() => scene.hosts.sent.length === 1);
    scene.log.broken = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    scene.answerAll(runner);
    const refused = runner.command((_state, at) => [{ type: "pause-asked", at, by: "tester", reason: "disk" }]);
    await t.rejects(refused, { code: "ENOSPC" });
    t.equal(scene.hosts.acknowledged.length, 0, "the agent keeps its outcome");
    t.match(await waitsOf(runner), [{ code: "store-failing", message: /no space left/ }]);
    scene.log.broken = null;
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    await eventually(() => scene.ended.length === 1);
    t.equal(scene.hosts.acknowledged.length, 1);
    t.equal(scene.log.ofType("pause-asked").length, 0, "what was refused did not happen");
  },
);

t.test("nobody is shown what a crash could take back: who looks waits for the disk (I14)", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  const statusOf = () => runner.look(({ view }) => [view().status, view().lastSeq]);
  const before = await statusOf();
  const pause = () => runner.command((_state, at) => [{ type: "pause-asked", at, by: "tester", reason: "to look" }]);

  const lost = scene.log.hold();
  const refused = pause();
  await lost.reached;
  const seen = statusOf();
  scene.log.broken = new Error("no space left on device");
  lost.release();
  await t.rejects(refused);
  t.same(await seen, before, "what was not recorded was never to be seen");
  scene.log.broken = null;
  await eventually(async () => (await waitsOf(runner))[0]?.code === "steps-in-flight");

  const kept = scene.log.hold();
  const paused = pause();
  await kept.reached;
  const early: unknown[] = [];
  const looking = statusOf().then((status) => early.push(status));
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.same(early, [], "not before it is on disk");
  kept.release();
  await Promise.all([paused, looking]);
  t.same(early, [["pausing", Number(before[1]) + 1]]);
  await runner.stop();
});

t.test("what can neither be written nor read is not shown as if it were on record", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  scene.log.broken = scene.log.unreadable = new Error("input/output error");
  scene.answerAll(runner);
  await eventually(async () => {
    try {
      await waitsOf(runner);
      return false;
    } catch (error) {
      t.match(error, { code: "run-unreadable", message: /input\/output error/, hint: /goes on by itself/ });
      return true;
    }
  });
  scene.log.broken = scene.log.unreadable = null;
  await eventually(() => scene.ended.length === 1);
  t.equal(await runner.look(({ view }) => view().status), "ended");
});

t.test("a turn that fails leaves nothing of itself to be seen", async (t) => {
  const scene = new Scene(noopPlan(["node-1", "node-2"], { parallel: 1 }));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  scene.hosts.isPresent = () => {
    throw new Error("a defect");
  };
  scene.answerAll(runner);
  await eventually(async () => (await waitsOf(runner))[0]?.code === "run-broken");
  t.equal(await runner.look(({ state }) => state.inFlight.size), 1, "its outcome is on no record");
  t.equal(scene.log.ofType("step-ended").length, 0);
});

t.test("a command that is not legal now is refused with the reason", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await t.rejects(
    runner.command((_state, at) => [{ type: "resumed", at, by: "tester" }]),
    { code: /./, message: /./ },
  );
  await runner.stop();
});

t.test("I7: a host that comes back is sent nothing that the disk has not taken yet", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  let returning: Promise<void> | null = null;
  const runner = await Runner.load(scene.parts());
  scene.log.beforeDisk = () => {
    // The intent is folded and on its way to the disk: the host redials in this very moment.
    returning ??= runner.connected("node-1", false);
    if (scene.hosts.sent.length > 0) t.fail("sent before its intent is on disk");
  };
  scene.log.broken = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  await runner.begin("belayd-1");
  await eventually(() => returning !== null);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(scene.hosts.sent.length, 0);
  scene.log.broken = null;
  await returning;
  await eventually(() => scene.hosts.sent.length > 0);
  t.equal(scene.log.ofType("step-intended").length, 1);
  await runner.stop();
});

t.test("a late result that makes no sense leaves the step unknown and belayd alive", async (t) => {
  const plan = noopPlan(["node-1"]);
  const op = { kind: "verify-backup", id: "b", dir: "/b" };
  const scene = new Scene({ ...plan, programs: { noop: [op] } });
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  const step = scene.hosts.sent[0]?.step.step ?? "";
  await runner.connected("node-1", true);
  runner.report({ host: "node-1", step, outcome: done(true, "nonsense") });
  await eventually(() => scene.hosts.acknowledged.length === 1);
  t.match(scene.log.ofType("step-ended"), [{ outcome: { status: "unknown", error: { code: "journal-lost" } } }]);
  t.equal(scene.log.ofType("step-ended").length, 1);
  await runner.stop();
});

t.test("what an agent is too old to be told has failed, and was never sent", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  scene.hosts.send = () => {
    throw new BelayError("agent-too-old", "no words for it");
  };
  const runner = await scene.runner();
  await eventually(() => scene.log.ofType("step-ended").length === 1);
  t.match(scene.log.ofType("step-ended"), [
    { outcome: { status: "failed", retryable: false, error: { code: "agent-too-old" } } },
  ]);
  await runner.stop();
});

t.test("I7: a step that may have begun before its agent became too old is nobody's failure yet", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  let tried = 0;
  scene.hosts.send = () => {
    tried += 1;
    throw new BelayError("agent-too-old", "no words for it");
  };
  await runner.connected("node-1", false);
  await eventually(() => tried === 1);
  t.same(scene.log.ofType("step-ended"), []);
  t.equal(await runner.look(({ state }) => state.inFlight.size), 1, "its own word, or the deadline, ends it");
  await runner.stop();
});

t.test("a defect in one run is told to those who ask, and ends nothing else", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  scene.hosts.send = () => {
    throw new Error("a defect");
  };
  const runner = await scene.runner();
  await eventually(async () => (await waitsOf(runner))[0]?.code === "run-broken");
  t.match(await waitsOf(runner), [{ message: /a defect/, unblock: /Restart belayd/ }]);
  await t.rejects(
    runner.command(() => []),
    { code: "run-broken" },
  );
});

t.test("a run that has ended refuses commands and turns nobody's promise into a riddle", async (t) => {
  const scene = new Scene(noopPlan(["node-1"]));
  const runner = await scene.runner();
  await eventually(() => scene.hosts.sent.length === 1);
  scene.answerAll(runner);
  await eventually(() => scene.ended.length === 1);
  await t.rejects(
    runner.command((_state, at) => [{ type: "pause-asked", at, by: "tester", reason: "late" }]),
    { code: "run-ended" },
  );
  await runner.connected("node-1", true);
});

function waitsOf(runner: Runner): Promise<readonly Wait[]> {
  return runner.look(({ view }) => view().waits);
}
