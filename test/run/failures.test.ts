import { abort, quarantine, release, retry, rollback, skip } from "@belay/controller/run/commands";
import { decide } from "@belay/controller/run/decide";
import { isNews, replay } from "@belay/controller/run/fold";
import { done, failed, unknownOutcome } from "@belay/shared";
import t from "tap";
import { clusterPlan, hop, hosts, nodesPlan, PROGRAMS, planOf, stage } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const broken = failed({ code: "unhealthy", message: "never became ready" });
const busy = failed({ code: "busy", message: "try again" }, true);
const ann = { by: "ann", reason: "looked at it" };
const all = { ...ann, hosts: [] };
const STAGE = "hop-1.main.node";

/** A run at a failure gate: node-1 and node-2 failed at their second op, node-3 is done. */
function stopped(): RunDriver {
  const run = new RunDriver(nodesPlan([["node-1", "node-2", "node-3"], ["node-4"]]));
  run.flow(({ host, op }) => (op === "health" && host !== "node-3" ? broken : done(true)));
  return run;
}

t.test("a retryable failure is tried again after a growing pause, as often as the stage allows", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]], { attempts: 3 }));
  run.settle();
  const pauses: number[] = [];
  for (const attempt of [2, 3]) {
    run.answer("node-1", busy);
    const { events, decision } = run.settle();
    t.same(events, []);
    t.match(decision.waits, [{ code: "retry-backoff", hosts: ["node-1"], until: decision.wakeAt }]);
    pauses.push((decision.wakeAt ?? 0) - run.now);
    run.now = decision.wakeAt ?? 0;
    t.match(run.settle().events, [{ attempt, step: `r1/${STAGE}/node-1/0/${attempt}` }]);
  }
  const [first = 0, second = 0] = pauses;
  t.ok(first >= 250 && first <= 500 && second >= 500 && second <= 1000, `pauses of ${pauses} ms`);
  run.answer("node-1", busy);
  run.settle();
  t.match(run.state.openFailure, { cause: { code: "budget-spent" } });
});

t.test("a try that would start beyond the step's time is not waited for", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]], { attempts: 9, stepTimeoutMs: 10_000 }));
  run.settle();
  run.now += 9_900;
  run.answer("node-1", busy);
  run.settle();
  t.match(run.state.openFailure, { cause: { code: "budget-spent" } });
});

t.test("retry: the failed op again under the next attempt, and the budgets get the failure back", async (t) => {
  const run = stopped();
  t.equal(run.state.openFailure?.id, `${STAGE}.failure-1`);
  t.throws(() => retry(run.state, { ...ann, hosts: ["node-3"] }, run.now), { code: "host-not-failed" });
  run.command(retry(run.state, all, run.now));
  t.equal(run.state.failures, 0);
  t.match(run.settle().events, [
    { step: `r1/${STAGE}/node-1/1/2`, op: "health", attempt: 2 },
    { step: `r1/${STAGE}/node-2/1/2`, op: "health", attempt: 2 },
  ]);
  run.flow();
  t.equal(run.state.ended?.result, "done");
  t.equal(run.state.hosts.get("node-1")?.failed, 0);
});

t.test("retry of some: the others still count, so the gate opens again, under its next number", async (t) => {
  const run = stopped();
  run.command(retry(run.state, { ...ann, hosts: ["node-1"] }, run.now));
  t.match(run.settle().events, [{ type: "failure-opened", gate: `${STAGE}.failure-2` }]);
});

t.test("skip: the hosts are set aside in that person's name, and the run goes on without them", async (t) => {
  const run = stopped();
  run.command(skip(run.state, all, run.now));
  t.match(run.settle().events, [{ type: "batch-started", batch: 1 }, { host: "node-4" }]);
  t.match(run.state.hosts.get("node-1")?.aside, { by: "ann", reason: `skipped at ${STAGE}.failure-1: looked at it` });
  run.flow();
  t.equal(run.state.ended?.result, "done");
});

t.test("skip is refused for an auth that others rely on (I1, I5)", async (t) => {
  const plan = clusterPlan();
  const run = new RunDriver(plan);
  run.flow(({ host }) => (host === "auth-2" ? broken : done(true)));
  t.throws(() => skip(run.state, all, run.now), { code: "host-needed", hint: /rollback/ });
  t.throws(() => quarantine(run.state, "auth-2", ann, run.now), { code: "host-needed" });
});

t.test("a way back that can't keep aside what is there names the one that doesn't (I4)", async (t) => {
  const programs = { ...PROGRAMS, restore: ["backup", "verify-backup", "restore", "start"].map((kind) => ({ kind })) };
  const auth = stage("hop-1.main.auth", [["auth-1"]], {
    ...{ role: "auth", program: "restore", stop: ["auth-1", "auth-2"], restores: { "auth-1": "r0.hop-1.auth-1.cold" } },
  });
  const undoes = { run: "r0", plan: "e".repeat(64), scope: "hop" } as const;
  const restore = { host: "auth-1", backup: "b-1", takenAt: 1, safetyBackup: true };
  for (const [more, way] of [
    [
      { kind: "rollback", undoes },
      /^belay run abort r1 .*, then belay run rollback r0 --scope hop --no-safety-backup$/,
    ],
    [{ kind: "restore", restore }, /^belay run abort r1 .*, then belay backup restore auth-1 b-1 --no-safety-backup$/],
  ] as const) {
    const plan = planOf([hop("hop-1", "6.2.31", "5.4.2", [auth])], hosts("auth", 2), { ...more, programs });
    for (const failing of ["backup", "verify-backup"]) {
      const run = new RunDriver(plan);
      const { waits } = run.flow(({ op }) => (op === failing ? broken : done(true)));
      const told = [waits[0]?.unblock, run.state.openFailure?.cause.hint];
      for (const text of told) t.match(text?.split("without: ")[1], way, failing);
      t.throws(() => skip(run.state, all, run.now), { code: "host-needed", hint: /--no-safety-backup/ });
    }
    const run = new RunDriver(plan);
    const { waits } = run.flow(({ op }) => (op === "restore" ? broken : done(true)));
    t.notMatch(waits[0]?.unblock, "--no-safety-backup", "what can't be put back is another matter");
    t.throws(() => skip(run.state, all, run.now), { code: "host-needed", hint: /plan anew after belay run abort r1/ });
  }
});

t.test("rollback and abort end the run under their own names", async (t) => {
  const back = stopped();
  back.command(rollback(back.state, ann, back.now));
  back.settle();
  t.equal(back.state.ended?.result, "rolled-back");
  t.same(rollback(back.state, ann, back.now), [], "of an ended run there is nothing to record");
  const over = stopped();
  over.command(abort(over.state, ann, over.now));
  over.settle();
  t.equal(over.state.ended?.result, "aborted");
});

t.test("a step nobody answers is unknown at its deadline, and never success (I7)", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  const { decision } = run.settle();
  run.absent.add("node-1");
  t.same(run.settle().events, [], "gone, but its step may be at work");
  run.now = decision.wakeAt ?? 0;
  t.match(run.settle().events, [
    { type: "step-ended", outcome: { status: "unknown", error: { code: "agent-lost" } } },
    { type: "failure-opened" },
  ]);
  t.match(run.state.hosts.get("node-1"), { ok: 0, changed: 0, unreachable: 1 });
});

t.test("the late truth about an unknown step replaces it", async (t) => {
  const lose = () => {
    const run = new RunDriver(nodesPlan([["node-1", "node-2"]], { parallel: 2, budget: { batch: 1, stage: 1 } }));
    const { decision } = run.settle();
    run.now = decision.wakeAt ?? 0;
    run.answer("node-2");
    run.settle();
    return run;
  };
  const step = `r1/${STAGE}/node-1/0/1`;
  t.test("done: the host goes on, and nothing counts against it", async (t) => {
    const run = lose();
    t.equal(run.state.failures, 1);
    t.equal(isNews(run.state, step, unknownOutcome({ code: "agent-lost", message: "" })), false);
    t.equal(isNews(run.state, step, done(true)), true);
    run.record({ type: "step-ended", at: run.now, step, outcome: done(true) });
    t.equal(isNews(run.state, step, done(true)), false, "a repeat is no news");
    t.equal(run.state.failures, 0);
    t.match(run.settle().events, [{ step: `r1/${STAGE}/node-1/1/1` }]);
    run.flow();
    t.match(run.state.hosts.get("node-1"), { changed: 2, failed: 0, unreachable: 0 });
  });
  t.test("failed: the reason is replaced, the count is not", async (t) => {
    const run = lose();
    run.record({ type: "step-ended", at: run.now, step, outcome: broken });
    t.equal(run.state.failures, 1);
    t.match(run.state.hosts.get("node-1"), { failed: 1, unreachable: 0 });
    t.equal(run.state.batch?.failed.get("node-1")?.error.code, "unhealthy");
  });
  t.test("drift, late, is still drift", async (t) => {
    const run = lose();
    run.record({ type: "step-ended", at: run.now, step, outcome: failed({ code: "drift", message: "moved" }) });
    t.equal(run.state.batch?.hard, 1);
  });
  t.test("after the host was set aside it is only recorded", async (t) => {
    const run = lose();
    run.answer("node-2");
    run.settle();
    t.equal(run.state.ended?.result, "done");
    t.equal(isNews(run.state, step, done(true)), false);
  });
});

t.test("absent hosts are waited for, and nothing is sent to them; then they fail as unreachable", async (t) => {
  const run = new RunDriver(
    nodesPlan([["node-1", "node-2"]], { budget: { batch: 1, stage: 1 }, stepTimeoutMs: 30_000 }),
  );
  run.absent.add("node-1");
  t.match(run.settle().events.at(-1), { host: "node-2" });
  run.answer("node-2");
  run.settle();
  run.answer("node-2");
  const { decision } = run.settle();
  t.match(decision.waits, [{ code: "hosts-offline", hosts: ["node-1"], since: 1_000_000, until: 1_030_000 }]);
  t.equal(decision.wakeAt, 1_030_000);
  t.throws(() => run.record({ type: "host-unreachable", at: run.now, stage: STAGE, batch: 0, host: "node-1" }), {
    code: "step-too-early",
  });
  run.now = 1_030_000;
  t.match(run.settle().events.slice(0, 2), [
    { type: "host-unreachable", host: "node-1" },
    { type: "host-quarantined", host: "node-1" },
  ]);
  t.match(run.state.hosts.get("node-1"), { unreachable: 1, failed: 0 });
});

t.test("a host that returns in time goes on; time under no controller does not count against it", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]], { stepTimeoutMs: 30_000 }));
  run.absent.add("node-1");
  run.settle();
  run.now += 29_000;
  run.record({ type: "lease-taken", at: run.now, owner: "b", fence: 2 });
  run.now += 29_000;
  t.match(run.settle().decision.waits, [{ code: "hosts-offline" }]);
  run.absent.delete("node-1");
  t.match(run.settle().events, [{ type: "step-intended", host: "node-1" }]);
});

t.test("quarantine mid-run: no further step; release: it goes on where it was, if it missed nothing", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1", "node-2"], ["node-3"]]));
  run.settle();
  run.command(quarantine(run.state, "node-1", ann, run.now));
  t.throws(() => quarantine(run.state, "node-1", ann, run.now), { code: "host-quarantined" });
  t.throws(() => quarantine(run.state, "node-9", ann, run.now), { code: "host-unknown" });
  t.throws(() => release(run.state, "node-2", ann, run.now), { code: "host-not-quarantined" });
  run.answer("node-1");
  t.same(run.settle().events, [], "its step in flight may end, nothing follows");
  run.command(release(run.state, "node-1", ann, run.now));
  t.match(run.settle().events, [{ host: "node-1", index: 1 }]);
  run.command(quarantine(run.state, "node-1", ann, run.now));
  run.answer("node-1", broken);
  t.equal(run.state.failures, 0, "a person answers for it");
  run.answer("node-2");
  run.settle();
  run.command(quarantine(run.state, "node-3", ann, run.now));
  run.flow();
  t.equal(run.state.ended?.result, "done");
  t.equal(
    run.events.some((event) => event.type === "step-intended" && event.host === "node-3"),
    false,
  );
});

t.test("who has missed a stage, or failed, is not taken back", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"], ["node-2"]], { budget: { batch: 1, stage: 1 } }));
  run.settle();
  run.command(quarantine(run.state, "node-2", ann, run.now));
  run.answer("node-1");
  run.settle();
  run.answer("node-1");
  const [started] = run.decide().events;
  t.match(started, { type: "batch-started", batch: 1 });
  if (started !== undefined) run.record(started);
  t.throws(() => release(run.state, "node-2", ann, run.now), { code: "host-missed-stage" });
});

t.test("I14: after a restart an agent gets time to come back and tell how its step ended", async (t) => {
  const plan = nodesPlan([["node-1"]], { stepTimeoutMs: 10_000 });
  const state = replay(plan, [
    { type: "run-started", at: 0, run: "r", plan: plan.id, check: false, by: "tester", fence: 1 },
    { type: "stage-started", at: 1, stage: "hop-1.main.node" },
    { type: "batch-started", at: 1, stage: "hop-1.main.node", batch: 0 },
    {
      type: "step-intended",
      at: 2,
      step: "r/hop-1.main.node/node-1/0/1",
      stage: "hop-1.main.node",
      batch: 0,
      host: "node-1",
      index: 0,
      op: "swap",
      attempt: 1,
      deadlineAt: 15_002,
    },
    // belayd was down for an hour; the step's own time is long over.
    { type: "lease-taken", at: 3_600_000, owner: "belayd-2", fence: 2 },
  ]);
  const world = { isPresent: () => false, factsOf: () => null, holdsLease: true };
  t.same(decide(state, world, 3_600_001).events, [], "not given up at once");
  const later = decide(state, world, 3_600_000 + 60_000);
  t.match(later.events, [{ type: "step-ended", outcome: { status: "unknown", error: { code: "agent-lost" } } }]);
});
