import type { Gate } from "@belay/controller/plan/plan";
import { approve, breakGlass, lapse, reject } from "@belay/controller/run/commands";
import { logLine } from "@belay/controller/run/log";
import { gateViewOf, viewOf } from "@belay/controller/run/view";
import { failed } from "@belay/shared";
import t from "tap";
import { gate, hop, host, nodesPlan, planOf, stage } from "../support/plans.js";
import { RunDriver, STARTER } from "../support/run-driver.js";

const GATE = "hop-1.main.node";
const HOUR = 3_600_000;
const ann = { by: "ann", reason: "looks good", groups: ["sre"] };
const bob = { by: "bob", reason: "looks good", groups: ["dev"] };

function gated(more: Partial<Gate>): RunDriver {
  const run = new RunDriver(nodesPlan([["node-1"]], { gate: gate(GATE, more) }));
  run.settle();
  return run;
}

t.test("a gate opens with evidence as soon as everything before it is finished, and not before (I6)", async (t) => {
  const plan = planOf(
    [
      hop("hop-1", "5.4.2", "6.2.31", [
        stage("hop-1.main.fetch", [["node-1"]]),
        stage(GATE, [["node-1"]], { gate: gate(GATE) }),
      ]),
    ],
    { "node-1": host() },
  );
  const run = new RunDriver(plan);
  t.throws(() => approve(run.state, GATE, ann, run.now), { code: "gate-not-open" });
  run.settle();
  t.equal(run.state.openGate, null);
  run.answer("node-1");
  const { events, decision } = run.settle();
  t.same(
    events.map(({ type }) => type),
    ["stage-finished", "gate-opened"],
  );
  t.match(events.at(-1), { evidence: { done: [{ stage: "hop-1.main.fetch", hosts: 1, failed: 0 }] } });
  t.match(decision.waits, [{ code: "gate-open", gate: GATE, unblock: /^belay gate approve r1 hop-1\.main\.node/ }]);
  t.equal(decision.wakeAt, run.now + HOUR);
});

t.test("a gate asks for as many different people as its policy says (I6)", async (t) => {
  const run = gated({ approvals: 2 });
  run.command(approve(run.state, GATE, ann, run.now));
  t.throws(() => approve(run.state, GATE, ann, run.now), { code: "already-decided" });
  t.same(run.settle().events, []);
  t.throws(() => run.record({ type: "gate-passed", at: run.now, gate: GATE, how: "approvals" }), {
    code: "approvals-missing",
  });
  t.throws(() => run.record({ type: "stage-started", at: run.now, stage: GATE }), { code: "event-out-of-order" });
  run.command(approve(run.state, GATE, bob, run.now));
  t.match(run.settle().events, [{ type: "gate-passed", how: "approvals" }, { type: "stage-started" }]);
  t.throws(() => approve(run.state, GATE, { ...bob, by: "cleo" }, run.now), { code: "gate-passed" });
  t.match(gateViewOf(run.state, GATE), { status: "passed", decisions: [{ by: "ann" }, { by: "bob" }] });
});

t.test("only members of the gate's group have a say, for and against", async (t) => {
  const run = gated({ group: "sre" });
  t.throws(() => approve(run.state, GATE, bob, run.now), { code: "wrong-group" });
  t.throws(() => reject(run.state, GATE, bob, run.now), { code: "wrong-group" });
  run.command(approve(run.state, GATE, ann, run.now));
  t.equal(run.settle().events[0]?.type, "gate-passed");
});

t.test("whoever made a token for somebody is no second voice beside them", async (t) => {
  const run = gated({ approvals: 2 });
  const puppet = { ...bob, by: "puppet", tokenBy: STARTER };
  t.throws(() => approve(run.state, GATE, puppet, run.now), {
    code: "token-not-own",
    message: `${STARTER}, who started`,
  });
  run.command(approve(run.state, GATE, ann, run.now));
  t.throws(() => approve(run.state, GATE, { ...bob, tokenBy: "ann" }, run.now), {
    code: "token-not-own",
    message: "ann made that of bob: ann and bob count as one",
  });
  run.command(approve(run.state, GATE, { ...bob, tokenBy: "root" }, run.now));
  t.equal(run.settle().events[0]?.type, "gate-passed");
  const decisions = [{ by: "ann" }, { by: "bob", tokenBy: "root" }];
  const set = gated({ approvals: 2 });
  set.command(approve(set.state, GATE, { ...ann, tokenBy: "root" }, set.now));
  set.command(approve(set.state, GATE, { ...bob, tokenBy: "root" }, set.now));
  t.equal(set.settle().events[0]?.type, "gate-passed", "root makes the first token of everybody");
  t.match(gateViewOf(run.state, GATE), { decisions });

  const other = gated({ approvals: 2 });
  other.command(approve(other.state, GATE, { ...bob, tokenBy: "ann" }, other.now));
  t.throws(() => approve(other.state, GATE, ann, other.now), { code: "token-not-own" }, "the other way about");
  t.throws(() => approve(other.state, GATE, { ...ann, by: "cleo", tokenBy: "ann" }, other.now), {
    code: "token-not-own",
    message: "ann made both tokens",
  });
  const [event] = approve(other.state, GATE, { ...ann, by: "cleo", tokenBy: "root" }, other.now);
  t.match(
    event === undefined ? "" : logLine(1, event, other.state.plan).message,
    "cleo (by a token that root made) approved",
  );
});

t.test("a rejection needs a reason and ends the run as denied", async (t) => {
  const run = gated({});
  t.throws(() => reject(run.state, GATE, { ...ann, reason: " " }, run.now), { code: "reason-required" });
  run.command(reject(run.state, GATE, { ...ann, reason: "too late in the day" }, run.now));
  t.throws(() => approve(run.state, GATE, bob, run.now), { code: "gate-rejected" });
  run.settle();
  t.match(run.state.ended, { result: "denied", reason: "ann rejected gate hop-1.main.node: too late in the day" });
  t.equal(gateViewOf(run.state, GATE)?.status, "rejected");
  t.throws(() => approve(run.state, GATE, bob, run.now), { code: "run-ended" });
});

t.test("a gate nobody answers in time", async (t) => {
  t.test("hold: stays open, says so once, and can still be approved", async (t) => {
    const run = gated({ onTimeout: "hold" });
    run.now += HOUR;
    const { events, decision } = run.settle();
    t.match(events, [{ type: "gate-expired", action: "hold" }]);
    t.match(decision.waits, [{ code: "gate-open", message: /overdue since/ }]);
    t.equal(decision.wakeAt, null);
    t.match(gateViewOf(run.state, GATE), { status: "open", overdue: true });
    run.command(approve(run.state, GATE, ann, run.now));
    t.equal(run.settle().events[0]?.type, "gate-passed");
  });
  t.test("deny: refuses from that moment on, even before the expiry is recorded", async (t) => {
    const run = gated({ onTimeout: "deny" });
    run.now += HOUR;
    t.throws(() => approve(run.state, GATE, ann, run.now), { code: "gate-expired" });
    run.settle();
    t.equal(run.state.ended?.result, "denied");
    t.equal(gateViewOf(run.state, GATE)?.status, "expired");
  });
  t.test("proceed: time opens it, on record", async (t) => {
    const run = gated({ onTimeout: "proceed", approvals: 2 });
    t.throws(() => run.record({ type: "gate-passed", at: run.now, gate: GATE, how: "timeout" }), {
      code: "gate-not-expired",
    });
    run.now += HOUR;
    t.match(run.settle().events.slice(0, 3), [
      { type: "gate-expired", action: "proceed" },
      { type: "gate-passed", how: "timeout" },
      { type: "stage-started" },
    ]);
  });
  t.test("rollback: the run ends so that its rollback can follow", async (t) => {
    const run = gated({ onTimeout: "rollback" });
    run.now += HOUR;
    run.settle();
    t.equal(run.state.ended?.result, "rolled-back");
  });
  t.test("enough approvals in time win over the clock", async (t) => {
    const run = gated({ onTimeout: "deny" });
    run.command(approve(run.state, GATE, ann, run.now));
    run.now += 2 * HOUR;
    t.match(run.settle().events[0], { type: "gate-passed", how: "approvals" });
  });
});

t.test("a gate that the run doesn't have", async (t) => {
  const run = gated({});
  t.throws(() => approve(run.state, "hop-9.main.node", ann, run.now), { code: "gate-unknown" });
  t.equal(gateViewOf(run.state, "hop-9.main.node"), null);
});

t.test(
  "self-approval: whoever started the run may not approve its gates, unless the policy says so (I6)",
  async (t) => {
    const run = gated({});
    const own = { ...ann, by: STARTER };
    t.throws(() => approve(run.state, GATE, own, run.now), { code: "own-request" });
    t.equal(gateViewOf(run.state, GATE)?.notBy, STARTER);
    const allowed = gated({ requesterMayApprove: true });
    allowed.command(approve(allowed.state, GATE, own, allowed.now));
    t.equal(allowed.settle().events[0]?.type, "gate-passed");
    t.equal(gateViewOf(allowed.state, GATE)?.notBy, null);
    run.command(reject(run.state, GATE, { ...own, reason: "changed my mind" }, run.now));
    run.settle();
    t.equal(run.state.ended?.result, "denied", "anybody may stop what they asked for");
  },
);

t.test("an approval counts only while whoever gave it may still give it (I6)", async (t) => {
  const run = gated({ approvals: 2, group: "sre" });
  run.command(approve(run.state, GATE, ann, run.now));
  const cleo = { by: "cleo", reason: "fine", groups: ["sre"], standing: (name: string) => name !== "ann" };
  run.command(approve(run.state, GATE, cleo, run.now));
  t.same(run.settle().events, [], "ann was removed before the second approval came");
  t.match(run.state.openGate?.decisions, [{ by: "ann", lapsedAt: run.now }, { by: "cleo" }]);
  t.match(run.settle().decision.waits, [{ message: /1 of 2 approvals/ }]);
  t.throws(() => run.record({ type: "approval-lapsed", at: run.now, gate: GATE, of: "ann" }), { code: "not-approved" });
  t.same(
    lapse(run.state, () => true, run.now),
    [],
  );
  run.command(lapse(run.state, () => false, run.now));
  t.match(gateViewOf(run.state, GATE)?.decisions, [{ lapsedAt: run.now }, { lapsedAt: run.now }]);
  for (const again of [ann, { ...cleo, standing: () => true }]) run.command(approve(run.state, GATE, again, run.now));
  t.match(run.settle().events, [{ type: "gate-passed", how: "approvals" }, { type: "stage-started" }], "they are back");
});

t.test("break-glass: one person passes a gate, for a reason that stays on record (I6)", async (t) => {
  const run = gated({ approvals: 2, group: "sre" });
  const admin = { by: STARTER, reason: "logins are down and nobody answers" };
  t.throws(() => breakGlass(run.state, GATE, { ...admin, reason: " " }, run.now), { code: "reason-required" });
  t.throws(() => run.record({ type: "gate-passed", at: run.now, gate: GATE, how: "break-glass" }), {
    code: "glass-whole",
  });
  t.throws(() => breakGlass(run.state, "hop-9.main.node", admin, run.now), { code: "gate-unknown" });
  run.command(breakGlass(run.state, GATE, admin, run.now));
  t.match(run.settle().events, [{ type: "gate-passed", how: "break-glass" }, { type: "stage-started" }]);
  t.same(viewOf(run.state, run.world, run.now).brokenGlass, [{ gate: GATE, ...admin, at: run.now }]);
  const said = run.events.map((event, seq) => logLine(seq, event, run.plan)).filter(({ level }) => level === "error");
  t.match(said, [{ message: /olga BROKE THE GLASS .*: logins are down/ }, { message: /WITHOUT ITS APPROVALS/ }]);
  run.answer("node-1", failed({ code: "unhealthy", message: "it is not well" }));
  run.settle();
  t.match(run.state.openFailure?.evidence.brokenGlass, [{ gate: GATE, by: STARTER }], "whoever decides next sees it");
});

t.test(
  "where approvals are signed, a word alone, one key twice and a broken glass let nothing pass (I6)",
  async (t) => {
    const plan = nodesPlan([["node-1"]], { gate: gate(GATE, { approvals: 2 }) });
    const run = new RunDriver({ ...plan, approvals: { root: "ab".repeat(32), leaves: 1 } });
    run.settle();
    t.throws(() => approve(run.state, GATE, ann, run.now), { code: "signature-missing" });
    t.throws(() => breakGlass(run.state, GATE, { by: "root", reason: "hurry" }, run.now), {
      code: "signature-missing",
    });
    const signed = { statement: "{}", signature: "s", key: "SHA256:a" };
    run.command(approve(run.state, GATE, { ...ann, signed }, run.now));
    t.throws(() => approve(run.state, GATE, { ...bob, signed }, run.now), { code: "already-decided" });
    t.match(gateViewOf(run.state, GATE), { status: "open", mustSign: true, decisions: [{ by: "ann", signed }] });
    run.command(approve(run.state, GATE, { ...bob, signed: { ...signed, key: "SHA256:b" } }, run.now));
    run.settle();
    t.equal(gateViewOf(run.state, GATE)?.status, "passed");
  },
);

t.test("a rejection needs no signature: nothing goes to any host behind it", async (t) => {
  const plan = nodesPlan([["node-1"]], { gate: gate(GATE) });
  const run = new RunDriver({ ...plan, approvals: { root: "ab".repeat(32), leaves: 1 } });
  run.settle();
  run.command(reject(run.state, GATE, ann, run.now));
  run.settle();
  t.equal(run.state.ended?.result, "denied");
});

t.test("a passed gate is signed once more, by the same or by others; only where approvals are signed", async (t) => {
  const plan = nodesPlan([["node-1"]], { gate: gate(GATE) });
  const run = new RunDriver({ ...plan, approvals: { root: "ab".repeat(32), leaves: 1 } });
  run.settle();
  const signed = (key: string) => ({ statement: "{}", signature: "s", key });
  run.command(approve(run.state, GATE, { ...ann, signed: signed("SHA256:a") }, run.now));
  run.settle();
  const again = approve(run.state, GATE, { ...ann, signed: signed("SHA256:a") }, run.now);
  t.match(again, [{ type: "approval-renewed", by: "ann" }]);
  run.command(again);
  run.command(approve(run.state, GATE, { ...bob, signed: signed("SHA256:b") }, run.now));
  t.match(gateViewOf(run.state, GATE), {
    status: "passed",
    decisions: [{ decision: "approve" }, { decision: "renew", by: "ann" }, { decision: "renew", by: "bob" }],
  });
  t.throws(() => approve(run.state, GATE, { ...ann, by: STARTER, signed: signed("SHA256:c") }, run.now), {
    code: "own-request",
  });
  t.throws(() => approve(run.state, GATE, bob, run.now), { code: "gate-passed" }, "a word adds nothing");

  const recorded = gated({});
  recorded.command(approve(recorded.state, GATE, ann, recorded.now));
  recorded.settle();
  t.throws(() => approve(recorded.state, GATE, { ...bob, signed: signed("SHA256:b") }, recorded.now), {
    code: "nothing-to-renew",
  });
});
