import { abort, pause, resume, rollback } from "@belay/controller/run/commands";
import { viewOf } from "@belay/controller/run/view";
import t from "tap";
import { gate, nodesPlan } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const ann = { by: "ann", reason: "lunch" };
const view = (run: RunDriver) => viewOf(run.state, run.world, run.now);

t.test(
  "a paused run dispatches nothing; it says pausing and lists what is in flight until there is none (I12)",
  async (t) => {
    const run = new RunDriver(nodesPlan([["node-1", "node-2", "node-3"]], { parallel: 2 }));
    run.settle();
    run.command(pause(run.state, ann, run.now));
    t.throws(() => pause(run.state, ann, run.now), { code: "run-paused" });
    run.answer("node-1");
    let decision = run.settle().decision;
    t.match(decision.waits, [
      { code: "pausing", hosts: ["node-2"], unblock: "belay run resume r1" },
      { code: "steps-in-flight" },
    ]);
    t.equal(view(run).status, "pausing");
    run.answer("node-2");
    decision = run.settle().decision;
    t.match(decision.waits, [{ code: "paused", message: "paused by ann: lunch" }]);
    t.equal(decision.waits.length, 1);
    t.equal(view(run).status, "paused");
    t.throws(
      () =>
        run.record({
          type: "step-intended",
          at: run.now,
          step: "r1/hop-1.main.node/node-3/0/1",
          stage: "hop-1.main.node",
          batch: 0,
          host: "node-3",
          index: 0,
          op: "swap",
          attempt: 1,
          deadlineAt: run.now + 1,
        }),
      { code: "event-out-of-order" },
    );
    run.command(resume(run.state, ann, run.now));
    t.throws(() => resume(run.state, ann, run.now), { code: "run-not-paused" });
    run.flow();
    t.equal(run.state.ended?.result, "done");
  },
);

t.test("even paused, a step past its deadline becomes unknown, so that pausing comes to its end", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.settle();
  run.command(pause(run.state, ann, run.now));
  run.now = run.settle().decision.wakeAt ?? 0;
  t.match(run.settle().events, [{ type: "step-ended", outcome: { status: "unknown" } }]);
  t.equal(view(run).status, "paused");
});

t.test("a gate's time does not act on a paused run", async (t) => {
  const run = new RunDriver(
    nodesPlan([["node-1"]], { gate: gate("hop-1.main.node", { onTimeout: "proceed", timeoutMs: 1_000 }) }),
  );
  run.settle();
  run.command(pause(run.state, ann, run.now));
  run.now += 5_000;
  t.same(run.settle().events, []);
  run.command(resume(run.state, ann, run.now));
  t.equal(run.settle().events[0]?.type, "gate-expired");
});

t.test("abort waits for what is in flight, dispatches nothing, and then ends the run", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1", "node-2"]], { parallel: 1 }));
  run.settle();
  run.command(abort(run.state, ann, run.now));
  t.throws(() => abort(run.state, ann, run.now), { code: "run-ending" });
  t.match(run.settle().decision.waits, [{ code: "aborting" }, { code: "steps-in-flight", hosts: ["node-1"] }]);
  t.equal(view(run).status, "aborting");
  run.answer("node-1");
  t.match(run.settle().events, [{ type: "run-ended", result: "aborted" }]);
  t.throws(() => abort(run.state, ann, run.now), { code: "run-ended" });
  t.match(run.decide().waits, [{ code: "ended" }]);
});

t.test("a rollback asked for at any time ends the run as rolled back", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.settle();
  run.command(rollback(run.state, ann, run.now));
  run.answer("node-1");
  run.settle();
  t.match(run.state.ended, { result: "rolled-back", reason: "ann: lunch" });
});

t.test("without the lease nothing is decided, not even what is overdue (I13)", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.settle();
  run.holdsLease = false;
  run.now += 10_000_000;
  t.match(run.decide(), { events: [], waits: [{ code: "lease-lost" }], wakeAt: null });
  t.throws(() => run.record({ type: "lease-taken", at: run.now, owner: "old", fence: 0 }), { code: "fence-too-low" });
});
