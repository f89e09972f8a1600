import { backoffMs, systemClock } from "@belay/agent";
import { type Op, PROTOCOL } from "@belay/shared";
import t, { type Test } from "tap";
import { FakeController } from "./support/controller.js";
import { MemoryDisk } from "./support/memory-disk.js";
import { World } from "./support/world.js";

const NOOP: Op = { kind: "noop" };
t.setTimeout(120_000);

async function connected(t: Test): Promise<World> {
  const world = await World.make(t);
  world.controller.probe = null;
  await world.start();
  await world.controller.connected();
  return world;
}

t.test("a repeated step is answered once more, and done once (I7)", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  const disk = new MemoryDisk();
  await world.start({ journalDisk: disk });
  await controller.connected();
  const step = controller.id();
  for (let n = 0; n < 5; n += 1) controller.send(NOOP, { step });
  const first = await controller.outcome(step);
  t.equal(disk.bytes.toString().split('"kind":"accepted"').length - 1, 1, "accepted once, however often it came");
  const told = controller.told.length;
  controller.send({ kind: "facts", probe: world.probe() }, { step });
  t.same((await controller.outcome(step, told)).outcome, first.outcome, "the id counts, not what comes with it");
});

t.test("an outcome nobody acked is told again, until somebody does", async (t) => {
  const world = await connected(t);
  const { controller } = world;
  controller.ack = false;
  const step = controller.id();
  await controller.step(NOOP, { step });
  for (let n = 0; n < 2; n += 1) {
    const told = controller.told.length;
    controller.socket?.terminate();
    await controller.outcome(step, told);
  }
  t.pass("told again after each reconnect");
  // Also by another life of the agent (I14).
  await world.stop();
  const told = controller.told.length;
  controller.ack = true;
  await world.start();
  const again = await controller.outcome(step, told);
  t.match(again, { outcome: { status: "done" } });
  await controller.step(NOOP);
  const after = controller.told.length;
  controller.socket?.terminate();
  controller.socket = null;
  await controller.connected();
  await controller.step(NOOP);
  t.same(
    controller.told.slice(after).filter((each) => each.type === "outcome" && each.step === step),
    [],
    "acked: never again",
  );
});

t.test("the op goes on without a connection, and hello says that it does", async (t) => {
  const world = await connected(t);
  const { controller } = world;
  world.install("5.0.0");
  world.linkTo("5.0.0");
  const step = controller.id();
  controller.send({ ...world.startOp(), settleMs: 1000 }, { step });
  await controller.until(() => controller.all("accepted").find((each) => each.step === step));
  const told = controller.told.length;
  controller.socket?.terminate();
  const hello = await controller.until(() => controller.told.slice(told).find((each) => each.type === "hello"));
  t.match(hello, { open: [step] });
  t.match((await controller.outcome(step, told)).outcome, { status: "done", changed: true });
});

t.test("I13: a step under a lower fence than was seen does nothing, also after a restart", async (t) => {
  const world = await connected(t);
  const { controller } = world;
  controller.fence = 5;
  await controller.step(NOOP);
  controller.fence = 4;
  const refusal = { status: "failed", retryable: false, error: { code: "fenced", context: { fence: 4, seen: 5 } } };
  t.match(await controller.step(NOOP), refusal);
  await world.stop();
  controller.socket = null;
  await world.start();
  t.match(await controller.step({ kind: "stop", service: "svc", timeoutMs: 1 }), refusal);
  controller.fence = 5;
  t.match(await controller.step(NOOP), { status: "done" });
});

t.test("malformed, unknown and early messages close the connection with a code; the agent redials", async (t) => {
  const world = await connected(t);
  const { controller } = world;
  for (const frame of [
    "{",
    '{"type":"dance"}',
    '{"type":"ack","step":7}',
    '{"type":"welcome","protocol":2,"pingEveryMs":1000,"factsEveryMs":1000,"probe":null}',
  ]) {
    const closes = controller.closes.length;
    const socket = await controller.connected();
    controller.socket = null;
    socket.send(frame);
    t.match(await controller.until(() => controller.closes[closes]), { code: 4400 }, frame);
  }
  t.match(await controller.step(NOOP), { status: "done" });
  const closes = controller.closes.length;
  controller.greeting = (socket) => socket.send(JSON.stringify({ type: "ack", step: "a/b" }));
  controller.socket?.terminate();
  t.match(await controller.until(() => controller.closes.slice(closes).find((each) => each.code === 4400)), {
    reason: /before welcome/,
  });
});

t.test("a controller of protocol 1 is spoken to in protocol 1", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  controller.protocol = 1;
  world.install("5.0.0");
  world.linkTo("5.0.0");
  await world.start();
  t.match(await controller.step(world.startOp()), { status: "done" });
  t.match(controller.all("hello"), [{ protocol: 1 }]);
  t.match(controller.all("facts").at(-1), { facts: { running: "5.0.0" } });
  controller.socket?.send('{"type":"welcome","protocol":2,"pingEveryMs":1000,"factsEveryMs":1000,"probe":null}');
  t.match(await controller.until(() => controller.closes[0]), { code: 4400 });
});

t.test("a welcome in another protocol than was agreed on is none", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  controller.greeting = (socket) =>
    socket.send(JSON.stringify({ type: "welcome", protocol: 1, pingEveryMs: 1000, factsEveryMs: 1000, probe: null }));
  await world.start();
  t.match(await controller.until(() => controller.closes[0]), { code: 4406, reason: /2 was agreed on/ });
});

t.test("a controller that falls silent is given up", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  controller.probe = null;
  controller.greeting = (socket) => {
    controller.socket = socket;
    // Promises pings every 100 ms, and sends one a second.
    socket.send(
      JSON.stringify({
        type: "welcome",
        protocol: PROTOCOL.newest,
        pingEveryMs: 100,
        factsEveryMs: 60_000,
        probe: null,
      }),
    );
  };
  await world.start();
  await controller.until(() => controller.all("hello").length >= 3);
  t.match(controller.closes[0], { code: 1006 });
});

t.test("refused: said loudly, dialled again after long", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  controller.greeting = (socket) =>
    socket.send(
      JSON.stringify({ type: "refused", error: { code: "token-unknown", message: "no such token" }, retry: false }),
    );
  const waits: number[] = [];
  const clock = {
    ...systemClock,
    sleep(ms: number, signal?: AbortSignal) {
      waits.push(ms);
      return systemClock.sleep(10, signal);
    },
  };
  await world.start({ clock });
  await controller.until(() => controller.all("hello").length >= 2);
  t.ok(
    waits.some((ms) => ms >= 250),
    "half of refusedMs at least",
  );
});

t.test("the controller is away for a while", async (t) => {
  const world = await connected(t);
  const { port } = world.controller;
  await world.controller.close();
  const again = await FakeController.listen(port);
  t.teardown(() => again.close());
  t.match(await again.step(NOOP, { step: "r/s/h/new" }), { status: "done" });
});

t.test("a full disk: nothing is done, and it is said", async (t) => {
  const world = await World.make(t);
  world.controller.probe = null;
  const disk = new MemoryDisk();
  await world.start({ journalDisk: disk });
  await world.controller.connected();
  disk.room = 5;
  const stop: Op = { kind: "stop", service: "svc", timeoutMs: 1 };
  t.match(await world.controller.step(stop), { status: "failed", retryable: true, error: { code: "os-enospc" } });
  t.same(world.controller.all("accepted"), [], "never promised");
  disk.room = Number.POSITIVE_INFINITY;
  t.match(await world.controller.step(stop), { status: "done" });
});

t.test("a bounded queue", async (t) => {
  const world = await connected(t);
  const { controller } = world;
  world.install("5.0.0", "never-ready");
  world.linkTo("5.0.0");
  const slow = controller.id();
  controller.send({ ...world.startOp(), timeoutMs: 2000 }, { step: slow });
  const steps = Array.from({ length: 80 }, () => controller.id());
  for (const step of steps) controller.send(NOOP, { step });
  const outcomes = await Promise.all(steps.map((step) => controller.outcome(step)));
  const full = outcomes.filter((each) => each.outcome.status === "failed");
  t.ok(full.length > 0 && full.length < 30, `${full.length} refused`);
  t.match(full[0]?.outcome, { retryable: true, error: { code: "step-queue-full" } });
  t.match((await controller.outcome(slow)).outcome, { status: "failed", error: { code: "unhealthy" } });
});

t.test("backoff: doubles to its cap, with full jitter", async (t) => {
  const limits = { baseMs: 100, capMs: 15_000 };
  t.same(
    [0, 1, 2, 7, 8, 1000].map((attempt) => backoffMs(attempt, limits, 0.999999)),
    [100, 200, 400, 12800, 15000, 15000],
  );
  t.equal(backoffMs(5, limits, 0), 0);
  t.equal(backoffMs(5, limits, 0.5), 1600);
});
