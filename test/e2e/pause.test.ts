import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { PATIENCE_MS, type PastEvent, Scene, SETTLE } from "./scene.js";

t.setTimeout(PATIENCE_MS);

/** Long enough for a controller that forgot the pause to send the next step: the loop takes milliseconds. */
const TEMPTATION_MS = 1_000;

t.test("a paused run dispatches nothing, whoever restarts (I12)", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"], "node-2": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }, { version: "5.6.0" }],
    rollout: { node: { ...SETTLE, settle: "2s", canary: 0, batch: [1] } },
  });
  const { api, fleet } = scene;

  const run = await scene.start("5.5.0");
  await scene.lead(run, "the swap of node-1", ({ inFlight }) => inFlight.some(isSwapOf("node-1")));
  const pausing = await api.command(run, "pause", { by: "ann", reason: "lunch" });
  t.equal(pausing.status, "pausing");
  t.match(pausing.waits, [{ code: "pausing", hosts: ["node-1"] }, { code: "steps-in-flight" }], "what is in flight");
  const paused = await scene.see(run, "paused", ({ status }) => status === "paused");
  t.equal(paused.inFlightTotal, 0);
  t.match(await api.why(run), { waits: [{ code: "paused", message: /ann.*lunch/ }] });
  await fleet.belayd.kill();
  fleet.belayd.start();
  await fleet.untilUp();
  await fleet.untilPresent();
  await sleep(TEMPTATION_MS);
  t.equal((await api.run(run)).status, "paused", "a restart doesn't resume it");
  t.same(await scene.started("node-2"), ["5.4.2"]);
  t.same(after(await scene.events(run), "pause-asked", "step-intended"), [], "nothing was dispatched since");
  await scene.runs(t, { "node-1": "5.5.0", "node-2": "5.4.2" });
  await api.command(run, "resume");
  t.equal((await scene.leadToEnd(run)).result, "done");
  await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0", "node-2": "5.5.0" });

  const second = await scene.start("5.6.0");
  await scene.lead(second, "the swap of node-1", ({ inFlight }) => inFlight.some(isSwapOf("node-1")));
  const aborting = await api.command(second, "abort", { by: "bob", reason: "wrong day" });
  t.equal(aborting.status, "aborting", "what is in flight may land");
  t.match(aborting.waits[0], { code: "aborting", message: /bob: wrong day/ });
  const end = await scene.see(second, "its end", ({ status }) => status === "ended");
  t.equal(end.result, "aborted");
  t.same(after(await scene.events(second), "abort-asked", "step-intended"), [], "nothing new was dispatched");
  await scene.runs(t, { "auth-1": "5.6.0", "node-1": "5.6.0", "node-2": "5.5.0" });
});

function isSwapOf(host: string) {
  return (step: { readonly host: string; readonly op: string }) => step.host === host && step.op === "swap";
}

/** Events of one type behind the last one of another. */
function after(events: readonly PastEvent[], mark: string, type: string): PastEvent[] {
  const at = events.findLastIndex((event) => event.type === mark);
  return events.slice(at).filter((event) => event.type === type);
}
