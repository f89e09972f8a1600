import t from "tap";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const AUTH = "hop-1.main.auth";
const NODE = "hop-1.main.node";

t.test("who approves is somebody else, still there, and counted once (I6)", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }],
    gates: { auth: { approvals: 2, group: "sre" } },
  });
  const { api } = scene;
  const both = ["operator", "approver"] as const;
  // Ann asks for it, and has every role that it would take to approve it.
  await api.as("ann", both, ["sre"]);
  await api.as("bob", both, ["sre"]);
  await api.as("cleo", both, ["sre"]);
  await api.as("dan", both);
  const answer = await api.plan({ to: "5.5.0" }, "ann");
  if (!answer.ok) throw new Error("blocked");
  const { id: run } = await api.start(answer.plan.id, false, "ann");
  await scene.see(run, AUTH, (view) => view.gate?.gate === AUTH);
  t.match(await api.gates(run), [{ gate: AUTH, notBy: "ann", decisions: [] }]);

  t.equal(await refusalOf(api.approve(run, AUTH, "ann")), "own-request");
  t.equal(await refusalOf(api.approve(run, AUTH, "dan")), "wrong-group");
  t.equal(await refusalOf(api.approve(run, AUTH, "tester")), "forbidden", "an operator is no approver");
  await api.approve(run, AUTH, "bob");
  const again = await api.anotherTokenOf("bob");
  t.equal(await refusalOf(again.approveMyself(run, AUTH)), "already-decided", "two tokens are not two people");

  await api.as("eve", ["admin"]);
  t.equal(await refusalOf(api.approveMyself(run, AUTH)), "root-refused", "where there are approvers, root is none");
  await api.changeUser("bob", { roles: ["operator"] });
  t.match(await api.why(run), { waits: [{ message: /0 of 2 approvals from sre/ }] }, "bob may not say so any more");
  await api.approve(run, AUTH, "cleo");
  t.match(await api.why(run), { waits: [{ message: /1 of 2 approvals from sre/ }] });
  await api.removeUser("cleo");
  t.equal(await refusalOf(api.approve(run, AUTH, "cleo")), "unauthorized", "what is removed has no token");
  t.match(await api.why(run), { waits: [{ message: /0 of 2 approvals from sre/ }] });
  t.same(await scene.opsOn(run, "auth-1"), ["preflight", "fetch", "backup", "verify-backup"]);

  t.equal(await refusalOf(api.breakGlass(run, AUTH, "dan", "hurry")), "forbidden");
  t.equal(await refusalOf(api.breakGlass(run, AUTH, "eve", " ")), "reason-required");
  await api.breakGlass(run, AUTH, "eve", "logins are down, and nobody of sre answers");
  const next = await scene.see(run, NODE, (view) => view.gate?.gate === NODE);
  const broken = { gate: AUTH, by: "eve", reason: "logins are down, and nobody of sre answers" };
  t.match(next.brokenGlass, [broken]);
  t.match(next.gate?.evidence?.brokenGlass, [broken], "who decides next is told");
  t.match(await api.status(), { brokenGlass: [{ run, ...broken }] });
  await api.approve(run, NODE, "dan");
  t.equal((await scene.see(run, "its end", ({ status }) => status === "ended")).result, "done");
  const decisions = (await scene.events(run)).filter(({ type }) => /^gate-(?:decided|passed)|^approval/.test(type));
  t.match(decisions, [
    { type: "gate-decided", by: "bob", decision: "approve", tokenBy: "root" },
    { type: "approval-lapsed", of: "bob" },
    { type: "gate-decided", by: "cleo", decision: "approve" },
    { type: "approval-lapsed", of: "cleo" },
    { type: "gate-decided", by: "eve", decision: "break-glass" },
    { type: "gate-passed", how: "break-glass" },
    { type: "gate-decided", by: "dan" },
    { type: "gate-passed", how: "approvals" },
  ]);
});
