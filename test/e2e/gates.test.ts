import { readFile, writeFile } from "node:fs/promises";
import t from "tap";
import { parse, stringify } from "yaml";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const AUTH = "hop-1.main.auth";
const NODE = "hop-1.main.node";

t.test("gates open for the people they ask for, and for nobody else (I6)", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }, { version: "5.6.0" }],
    gates: { auth: { approvals: 2 }, node: { timeout: "3s", onTimeout: "proceed" } },
  });
  const { api } = scene;
  const atGate = (run: string, gate: string) => scene.see(run, gate, (view) => view.gate?.gate === gate);

  const run = await scene.start("5.5.0");
  const open = await atGate(run, AUTH);
  t.match(open.waits, [{ code: "gate-open", gate: AUTH, message: /0 of 2 approvals/ }]);
  t.equal(await refusalOf(api.approve(run, NODE, "ann")), "gate-not-open", "not before its time");
  t.equal(await refusalOf(api.approve(run, "hop-9.main.auth", "ann")), "gate-unknown");
  t.match(await api.approve(run, AUTH, "ann"), { status: "open", decisions: [{ by: "ann", reason: "looks good" }] });
  t.equal(await refusalOf(api.approve(run, AUTH, "ann")), "already-decided", "two people are two people");
  t.match(await api.why(run), { waits: [{ code: "gate-open", message: /1 of 2 approvals/ }] });
  t.same(await scene.opsOn(run, "auth-1"), ["preflight", "fetch", "backup", "verify-backup"], "half a word is none");
  await api.approve(run, AUTH, "bob");
  await atGate(run, NODE);
  t.equal(await refusalOf(api.approve(run, AUTH, "cyd")), "gate-passed", "what is passed is passed");
  t.equal((await scene.see(run, "its end", ({ status }) => status === "ended")).result, "done", "nobody answered");
  const passed = (await scene.events(run)).filter(({ type }) => type === "gate-passed");
  t.match(passed, [
    { gate: AUTH, how: "approvals" },
    { gate: NODE, how: "timeout" },
  ]);
  await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0" });

  const refused = await scene.start("5.6.0");
  await atGate(refused, AUTH);
  await api.approve(refused, AUTH, "ann");
  t.equal(await refusalOf(api.reject(refused, AUTH, "bob", " ")), "reason-required");
  await api.reject(refused, AUTH, "bob", "not on a friday");
  const denied = await scene.see(refused, "its end", ({ status }) => status === "ended");
  t.equal(denied.result, "denied");
  t.match(await api.gates(refused, true), [
    { gate: AUTH, status: "rejected" },
    { gate: NODE, status: "not-open" },
  ]);
  t.equal(await refusalOf(api.approve(refused, AUTH, "cyd")), "run-ended", "no word opens it again");

  // Policies are the plan's: a new plan has the new ones.
  await setGates(scene.fleet.layout.fleetFile, { auth: { timeout: "1s", onTimeout: "deny" } });
  const late = await scene.start("5.6.0");
  const expired = await scene.see(late, "its end", ({ status }) => status === "ended");
  t.equal(expired.result, "denied", "silence is a no where the policy says so");
  t.match(await api.gates(late, true), [
    { gate: AUTH, status: "expired" },
    { gate: NODE, status: "not-open" },
  ]);
  await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0" });
  for (const host of ["auth-1", "node-1"]) t.same(await scene.started(host), ["5.4.2", "5.5.0"], host);
});

async function setGates(fleetFile: string, gates: object): Promise<void> {
  const fleet = parse(await readFile(fleetFile, "utf8"));
  await writeFile(fleetFile, stringify({ ...fleet, gates }));
}
