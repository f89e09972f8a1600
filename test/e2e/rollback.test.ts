import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { backendOf } from "./backend.js";
import { flipBit } from "./damage.js";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const ALL = ["auth-1", "auth-2", "proxy-1", "node-1"];
const HOSTS = { "auth-1": ["auth"], "auth-2": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] } as const;

t.test("back over the point of no return, and forth again", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, { hosts: HOSTS, version: "5.4.2", releases: [{ version: "6.1.0" }] });
  const { api } = scene;
  const run = await scene.start("6.1.0");
  await scene.leadToGate(run, "hop-1.main.node");
  await scene.runs(t, { "auth-1": "6.1.0", "auth-2": "6.1.0", "proxy-1": "6.1.0", "node-1": "5.4.2" });
  t.match(backendOf(scene.host("auth-1")), { version: "6.1.0", formats: [6] }, "auth has migrated its backend");

  const stage = await api.rollback(run, "stage", { planOnly: true });
  t.match(stage, { plan: { ok: true, plan: { kind: "rollback" } }, run: null }, "a plan to look at, and nothing done");
  t.equal((await api.run(run)).status, "waiting");

  const answer = await api.rollback(run, "run");
  t.match(answer.plan, { ok: true, plan: { kind: "rollback", undoes: { run, scope: "run" } } });
  t.equal((await api.run(run)).result, "rolled-back");
  const back = answer.run ?? "";
  const gate = await scene.see(back, "its first gate", (view) => view.gate?.status === "open");
  t.match(gate.waits, [{ code: "gate-open" }], "the way back has gates of its own (I6)");
  t.equal((await scene.leadToEnd(back)).result, "done");
  await allRun(t, scene, "5.4.2");
  t.match(backendOf(scene.host("auth-1")), { version: "5.4.2", corrupted: null, formats: [5] }, "restored");
  t.same(await scene.lives("auth-1"), ["5.4.2", "6.1.0", "5.4.2"]);
  t.same(await scene.started("node-1"), ["5.4.2"], "what had not moved was not touched");

  t.match(await api.plan({ to: "6.1.0" }), { ok: false, blocked: [{ code: "release-suspect", subject: "6.1.0" }] });
  t.match((await api.releases()).find(({ version }) => version === "6.1.0")?.suspect, /rolled back.*test/, "and why");
  await api.clearRelease("6.1.0");
  const again = await scene.start("6.1.0");
  t.equal((await scene.leadToEnd(again)).result, "done", "cleared by a person, it may be tried again");
  await allRun(t, scene, "6.1.0");
});

t.test(
  "a failed migration is rolled back to health; a corrupt backup restores nothing",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: HOSTS,
      version: "5.4.2",
      releases: [{ version: "6.0.0", behaviour: "migration-fails", onlyRoles: ["auth"] }, { version: "6.1.0" }],
    });
    const { api } = scene;
    const bad = await scene.start("6.0.0");
    const failed = await scene.leadToFailure(bad);
    t.match(failed.gate.cause, { code: "auth-failed" });
    const healing = await api.rollback(bad, "run");
    t.match(healing.plan, { ok: true });
    t.equal((await scene.leadToEnd(healing.run ?? "")).result, "done");
    await allRun(t, scene, "5.4.2");

    const run = await scene.start("6.1.0");
    await scene.leadToGate(run, "hop-1.main.proxy");
    const answer = await api.rollback(run, "hop");
    const back = answer.run ?? "";
    if (!answer.plan.ok) throw new Error(JSON.stringify(answer.plan.blocked));
    const restores = answer.plan.plan.hops.flatMap(({ stages }) =>
      stages.flatMap((stage) => Object.entries(stage.restores ?? {})),
    );
    const [[host, backup]] = restores as [[string, string]];
    const isOnRecord = async () =>
      (await api.backups(run, host)).some((one) => one.backup === backup && one.verifiedAt !== null);
    const folder = join(scene.host(host).vars.backups ?? "", backup);
    const file = join(folder, (await readdir(folder)).find((name) => name.endsWith("-sqlite.db")) ?? "");
    await flipBit(file, 8192);
    const stuck = await scene.leadToFailure(back);
    t.match(stuck.failures.at(-1), { host, error: { code: "backup-corrupt" } });
    t.equal(stuck.gate.stage, "hop-1.main.backup");
    t.match(backendOf(scene.host(host)), { version: "6.1.0", corrupted: null, formats: [6] }, "nothing was touched");
    await scene.runs(t, { "auth-1": "6.1.0", "auth-2": "6.1.0", "proxy-1": "5.4.2", "node-1": "5.4.2" });
    t.notOk(await isOnRecord(), "the word that it is whole is taken back");
    t.match(stuck.waits[0]?.unblock, `then belay run rollback ${run} --scope hop`);
    const other = await api.rollback(run, "hop", { planOnly: true });
    if (!other.plan.ok) throw new Error(JSON.stringify(other.plan.blocked));
    const [hop] = other.plan.plan.hops;
    t.match(hop?.stages[0]?.restores, { [host]: backup.replace(".cold", "") }, "another plan goes by another");
    await flipBit(file, 8192);
    await api.command(back, "retry");
    t.equal((await scene.leadToEnd(back)).result, "done", "with a whole backup it goes on");
    t.ok(await isOnRecord());
    await allRun(t, scene, "5.4.2");
    t.match(backendOf(scene.host(host)), { version: "5.4.2", corrupted: null, formats: [5] });
  },
);

t.test(
  "a whole run goes back over all its hops, however few backups are kept; one whose backups are gone says so at once",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: HOSTS,
      version: "5.4.2",
      releases: [{ version: "6.1.0" }, { version: "7.1.0" }],
      backups: { keep: 1 },
    });
    const { api } = scene;
    const run = await scene.start("7.1.0");
    t.equal((await scene.leadToEnd(run)).result, "done", "it has pruned at its end");
    const answer = await api.rollback(run, "run");
    t.match(answer.plan, { ok: true, plan: { hops: { length: 2 } } });
    t.equal((await scene.leadToEnd(answer.run ?? "")).result, "done");
    await allRun(t, scene, "5.4.2");
    const restored = backendOf(scene.host("auth-1"));
    t.match(restored, { version: "5.4.2", corrupted: null, formats: [5] }, "what the first hop kept was still there");

    for (const version of ["6.1.0", "7.1.0"]) await api.clearRelease(version);
    t.equal((await scene.leadToEnd(await scene.start("7.1.0"))).result, "done");
    const kept = (await api.backups(run, "auth-1")).map(({ prunedAt }) => typeof prunedAt);
    t.same(kept, ["number", "number", "number", "number"], "a later run has taken the place of the first");
    const late = await api.rollback(run, "run");
    t.equal(late.run, null);
    t.match(late.plan.ok ? [] : late.plan.blocked, [
      { code: "backup-missing", subject: "auth-1", message: /has pruned/ },
    ]);
    await allRun(t, scene, "7.1.0");
  },
);

t.test(
  "a state that can't be read any more blocks the way back only until somebody lets it go (I4)",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, { hosts: HOSTS, version: "5.4.2", releases: [{ version: "6.1.0" }] });
    const { api } = scene;
    const auth = scene.host("auth-1");
    const run = await scene.start("6.1.0");
    await scene.leadToGate(run, "hop-1.main.proxy");
    const first = (await api.rollback(run, "run")).run ?? "";
    await scene.leadToGate(first, "hop-1.main.auth");
    await writeFile(auth.backend ?? "", "no database any more\n".repeat(500));
    const stuck = await scene.leadToFailure(first);
    t.match(stuck.failures.at(-1), { host: "auth-1", error: { code: "sqlite-failed" } });
    const way = `belay run rollback ${run} --scope run --no-safety-backup`;
    t.match(stuck.waits[0]?.unblock, way, "it says what to do");
    t.match(stuck.gate.cause?.hint, way);
    t.equal(await refusalOf(api.command(first, "skip")), "host-needed");

    await api.command(first, "abort");
    await scene.see(first, "its end", (view) => view.status === "ended");
    const answer = await api.rollback(run, "run", { safetyBackup: false });
    t.match(answer.plan, { ok: true, plan: { undoes: { run, safetyBackup: false } } });
    const gate = await scene.leadToGate(answer.run ?? "", "hop-1.main.auth");
    t.match(gate.gate?.evidence?.goingBack.loses, "not kept aside");
    t.equal((await scene.leadToEnd(answer.run ?? "")).result, "done");
    await allRun(t, scene, "5.4.2");
    t.match(backendOf(auth), { version: "5.4.2", corrupted: null, formats: [5] });
  },
);

function allRun(t: Test, scene: Scene, version: string): Promise<void> {
  return scene.runs(t, Object.fromEntries(ALL.map((host) => [host, version])));
}
