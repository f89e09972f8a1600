import t, { type Test } from "tap";
import { PATIENCE_MS, type PastEvent, Scene, SETTLE } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test("hosts, agents and belayd go away and come back (I7, I14)", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"], "node-2": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }],
    gates: { auth: { approvals: 2 } },
    rollout: { node: { ...SETTLE, settle: "2s" } },
  });
  const { fleet, api } = scene;

  await scene.agent("node-2").kill();
  await scene.untilHost("node-2", "is away", ({ present }) => !present);
  const blocked = await api.plan({ to: "5.5.0" });
  t.match(blocked, { ok: false, blocked: [{ code: "host-unreachable", subject: "node-2" }] }, "no plan without it");
  scene.agent("node-2").start();
  await fleet.untilPresent();

  const run = await scene.start("5.5.0");
  await scene.see(run, "the first gate", ({ gate }) => gate?.status === "open");
  await api.approve(run, "hop-1.main.auth", "ann");
  await fleet.belayd.kill();
  fleet.belayd.start();
  await fleet.untilUp();
  const [gate] = await api.gates(run);
  t.match(gate, { gate: "hop-1.main.auth", status: "open", decisions: [{ by: "ann", decision: "approve" }] }, "kept");
  t.same(await scene.started("auth-1"), ["5.4.2"], "one approval of two opens nothing (I6)");
  await api.approve(run, "hop-1.main.auth", "bob");
  await scene.see(run, "the node gate", ({ gate }) => gate?.gate === "hop-1.main.node");

  await scene.agent("node-1").kill();
  await scene.untilHost("node-1", "is away", ({ present }) => !present);
  await api.approve(run, "hop-1.main.node");
  const waiting = await scene.see(run, "a wait for node-1", ({ waits }) => waits[0]?.code === "hosts-offline");
  t.same(waiting.waits[0]?.hosts, ["node-1"]);
  t.match(waiting.waits[0]?.unblock, /node-1/, "says what would end the wait");
  t.match(await api.why(run), { waits: [{ code: "hosts-offline", hosts: ["node-1"] }] });
  scene.agent("node-1").start();

  const swapping = (host: string) => `swap of ${host} at work`;
  const isSwapped = (host: string) => (view: { inFlight: readonly { host: string; op: string }[] }) =>
    view.inFlight.some((step) => step.host === host && step.op === "swap");
  await scene.see(run, swapping("node-1"), isSwapped("node-1"));
  await scene.untilStarted("node-1", "5.5.0");
  await scene.agent("node-1").kill();
  scene.agent("node-1").start();
  await scene.see(run, swapping("node-2"), isSwapped("node-2"));
  await fleet.belayd.kill();
  fleet.belayd.start();
  await fleet.untilUp();

  t.equal((await scene.leadToEnd(run)).result, "done");
  t.match(await api.why(run), { waits: [{ code: "ended" }] });
  await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0", "node-2": "5.5.0" });
  for (const host of ["auth-1", "node-1", "node-2"]) t.same(await scene.started(host), ["5.4.2", "5.5.0"], host);
  onceEach(t, await scene.events(run));
});

function onceEach(t: Test, events: readonly PastEvent[]): void {
  const of = (type: string) => events.filter((event) => event.type === type);
  const intended = of("step-intended");
  t.equal(new Set(intended.map(({ step }) => step)).size, intended.length, "no step was intended twice (I7)");
  const swaps = intended.filter(({ op }) => op === "swap");
  t.same(
    swaps.map(({ host }) => host),
    ["auth-1", "node-1", "node-2"],
    "each host was swapped once",
  );
  t.equal(of("step-ended").length, intended.length, "every step has one end");
  t.equal(of("lease-taken").length >= 2, true, "each new belayd took the run up under a lease of its own (I13)");
}
