import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { KINDS, type States } from "../support/states/index.js";
import { PATIENCE_MS, Scene } from "./scene.js";

t.setTimeout((KINDS.length + 1) * PATIENCE_MS);

const AUTHS = { "auth-1": ["auth"], "auth-2": ["auth"], "node-1": ["node"] } as const;

for (const { kind, skip, start } of KINDS) {
  t.test(`an auth goes back to a backup long after its run, with its state in ${kind} (I5, I6)`, { skip }, async (t) =>
    goesBack(t, await start(t)),
  );
}

async function goesBack(t: Test, states: States): Promise<void> {
  const state = await states.fresh();
  const scene = await Scene.open(t, {
    hosts: AUTHS,
    version: "5.4.2",
    releases: [{ version: "6.1.0" }],
    state: state.server,
  });
  const { api, fleet } = scene;
  const auth = scene.host("auth-1");
  const plan = await api.plan({ to: "6.1.0", quarantine: ["node-1"] });
  if (!plan.ok) throw new Error(JSON.stringify(plan.blocked));
  const run = (await api.start(plan.plan.id)).id;
  t.equal((await scene.leadToEnd(run)).result, "done");
  t.same([await state.version(auth), await state.formats(auth)], ["6.1.0", [6]]);

  const backup = `${run}.hop-1.auth-1`;
  const look = await api.restore("auth-1", backup, { planOnly: true });
  t.match(look, { run: null, plan: { ok: true, plan: { kind: "restore", to: "5.4.2", restore: { backup } } } });
  t.same(await scene.lives("auth-1"), ["5.4.2", "6.1.0"], "looking touches nothing");

  const answer = await api.restore("auth-1", backup);
  if (answer.run === null) throw new Error(JSON.stringify(answer));
  const restore = answer.run;
  const gate = await scene.leadToGate(restore, "hop-1.main.auth");
  t.match(gate.gate, {
    pointOfNoReturn: true,
    evidence: { goingBack: { takes: new RegExp(`belay backup restore auth-1 ${restore}`), loses: /since 20.*taken/ } },
  });
  t.same(await scene.opsOn(restore, "auth-2"), ["preflight"], "behind the gate nothing happened (I6)");
  await api.approve(restore, "hop-1.main.auth");
  await scene.see(restore, "the restore at work", ({ inFlight }) => inFlight.some(({ host }) => host === "auth-1"));
  // I14: whoever takes the run up again goes on where it was.
  await fleet.belayd.kill();
  fleet.belayd.start();
  await fleet.untilUp();
  t.equal((await scene.leadToEnd(restore)).result, "done");

  await scene.runs(t, { "auth-1": "5.4.2", "auth-2": "5.4.2", "node-1": "5.4.2" });
  t.same([await state.version(auth), await state.formats(auth)], ["5.4.2", [5]], "its state is back");
  const events = await state.audit(auth);
  t.same(
    events,
    events.map((_, index) => ({ seq: index + 1, version: "5.4.2" })),
    "as it was before, and nothing of the new version's",
  );
  t.same(await scene.lives("auth-1"), ["5.4.2", "6.1.0", "5.4.2"]);
  const intended = (await scene.events(restore)).filter(({ type }) => type === "step-intended").map(({ step }) => step);
  t.equal(new Set(intended).size, intended.length, "nothing was asked for twice");

  t.match(await api.restore("auth-1", `${restore}.hop-1.auth-1`, { planOnly: true }), {
    plan: { ok: false, blocked: [{ code: "backup-newer", subject: "auth-1" }] },
  });
}

t.test(
  "a node gets its identity back; an auth that others would pass is refused",
  { timeout: PATIENCE_MS },
  async (t) => {
    const hosts = { "auth-1": ["auth"], "node-1": ["node"] } as const;
    const scene = await Scene.open(t, { hosts, version: "5.4.2", releases: [{ version: "6.1.0" }] });
    const { api } = scene;
    const run = await scene.start("6.1.0");
    t.equal((await scene.leadToEnd(run)).result, "done");
    t.match(await api.restore("auth-1", `${run}.hop-1.auth-1`), {
      run: null,
      plan: { ok: false, blocked: [{ code: "left-behind", subject: "node-1", hint: /belay run rollback/ }] },
    });
    t.match(await api.run("latest"), { id: run }, "nothing was started");

    const uuidFile = join(scene.host("node-1").data, "host_uuid");
    const uuid = await readFile(uuidFile, "utf8");
    await rm(uuidFile);
    const answer = await api.restore("node-1", `${run}.hop-1.node-1`);
    if (answer.run === null) throw new Error(JSON.stringify(answer));
    t.equal((await scene.leadToEnd(answer.run)).result, "done");
    t.equal(await readFile(uuidFile, "utf8"), uuid);
    await scene.runs(t, { "auth-1": "6.1.0", "node-1": "6.1.0" });
    t.match(await scene.opsOn(answer.run, "node-1"), [
      "preflight",
      "verify-backup",
      "backup",
      "verify-backup",
      "stop",
      "restore",
      "start",
      "health",
    ]);
    t.same(await scene.opsOn(answer.run, "auth-1"), [], "and nobody else was touched");
    const { takenAt } = await api.verifyBackup("node-1", `${answer.run}.hop-1.node-1`);
    t.ok(takenAt > 0, "what was there is kept aside");
  },
);
