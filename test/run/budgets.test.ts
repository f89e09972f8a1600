import { skip } from "@belay/controller/run/commands";
import { failed, reverted } from "@belay/shared";
import t from "tap";
import { clusterPlan, gate, hop, host, hosts, nodesPlan, planOf, stage } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const broken = failed({ code: "unhealthy", message: "never became ready" });
const drifted = failed({ code: "drift", message: "5.4.1 is installed" });
const names = (count: number) => Array.from({ length: count }, (_, index) => `node-${index + 1}`);

t.test("a failure within its budget: the batch goes on, and the host is set aside at its end (I9)", async (t) => {
  const run = new RunDriver(nodesPlan([names(4)], { parallel: 2, budget: { batch: 1, stage: 1 } }));
  const { waits } = run.flow(({ host }) => (host === "node-2" ? broken : { status: "done", changed: true }));
  t.equal(waits[0]?.code, "ended");
  t.match(run.state.ended, { result: "done", reason: "every stage is finished; 1 host was set aside" });
  t.match(
    run.events.find(({ type }) => type === "host-quarantined"),
    {
      host: "node-2",
      by: "belayd",
      reason: "failed in hop-1.main.node: never became ready",
    },
  );
  t.equal(run.events.filter((event) => event.type === "step-intended" && event.host === "node-2").length, 1);
});

t.test("a budget passed: what is in flight may end, nothing new starts, then a failure gate opens (I9)", async (t) => {
  const run = new RunDriver(nodesPlan([names(6)], { parallel: 3, budget: { batch: 1, stage: 9 } }));
  run.settle();
  run.answer("node-1", broken);
  t.match(run.settle().events, [{ type: "step-intended", host: "node-4" }], "one is tolerated");
  run.answer("node-2", broken);
  const { events, decision } = run.settle();
  t.same(events, [], "nothing new");
  t.match(decision.waits, [{ code: "steps-in-flight", hosts: ["node-3", "node-4"] }]);
  t.throws(() => run.record({ ...firstStep(run, "node-5") }), { code: "event-out-of-order" });
  run.answer("node-3", broken);
  run.answer("node-4");
  t.match(run.settle().events, [
    {
      type: "failure-opened",
      gate: "hop-1.main.node.failure-1",
      cause: { code: "budget-spent", context: { scope: "batch", failures: 3, budget: 1 } },
    },
  ]);
  t.equal(run.state.failures, 3);
});

function firstStep(run: RunDriver, name: string) {
  return {
    type: "step-intended" as const,
    at: run.now,
    step: `r1/hop-1.main.node/${name}/0/1`,
    stage: "hop-1.main.node",
    batch: 0,
    host: name,
    index: 0,
    op: "swap" as const,
    attempt: 1,
    deadlineAt: run.now + 1,
  };
}

t.test("the stage's and the run's budgets count over batches and stages", async (t) => {
  const failFirst = (run: RunDriver) =>
    run.flow(({ host }) => (["node-1", "node-3"].includes(host) ? broken : { status: "done", changed: true }));
  const batches = [names(2), ["node-3", "node-4"]];
  const byStage = new RunDriver(nodesPlan(batches, { budget: { batch: 1, stage: 1 } }));
  t.match(failFirst(byStage).waits, [{ code: "failure-gate-open" }]);
  t.match(byStage.state.openFailure?.cause, { code: "budget-spent", context: { scope: "stage" } });
  const byRun = new RunDriver(nodesPlan(batches, { budget: { batch: 1, stage: 2 } }, { budgetRun: 1 }));
  t.match(failFirst(byRun).waits, [{ code: "failure-gate-open" }]);
  t.match(byRun.state.openFailure?.cause, { code: "budget-spent", context: { scope: "run" } });
});

t.test("what no budget covers", async (t) => {
  const plenty = { batch: 9, stage: 9 };
  t.test("a canary", async (t) => {
    const run = new RunDriver(nodesPlan([["node-1"], ["node-2"]], { canaries: 1, budget: plenty }));
    run.flow(() => reverted({ code: "not-settled", message: "crashed after 5 s" }));
    t.match(run.state.openFailure, { cause: { code: "canary-failed", context: { error: "not-settled" } } });
    run.command(skip(run.state, { by: "ann", reason: "its disk is gone", hosts: [] }, run.now));
    run.flow(() => broken);
    t.equal(run.state.ended?.result, "done", "behind the canaries the budget counts again");
  });
  for (const code of ["drift", "fenced"]) {
    t.test(code, async (t) => {
      const run = new RunDriver(nodesPlan([names(3)], { budget: plenty, parallel: 1 }));
      run.flow(() => failed({ code, message: "something else is there" }, true));
      t.match(run.state.openFailure, { cause: { code } });
    });
  }
  t.test("auth, and the list of auths to stop (I5)", async (t) => {
    const auths = hosts("auth", 2);
    const one = stage("hop-1.main.auth", [["auth-1"]], { stop: ["auth-2"], budget: plenty });
    const plan = planOf([hop("hop-1", "5.4.2", "6.2.31", [one])], auths);
    const stopping = new RunDriver(plan);
    t.match(stopping.settle().events.at(-1), {
      type: "step-intended",
      op: "stop",
      step: "r1/hop-1.main.auth/auth-2/stop-0/1",
    });
    stopping.answer("auth-2", broken);
    stopping.settle();
    t.match(stopping.state.openFailure, { cause: { code: "stop-failed" } });
    const crossing = new RunDriver(plan);
    crossing.flow(({ op }) => (op === "swap" ? broken : { status: "done", changed: true }));
    t.match(crossing.state.openFailure, { cause: { code: "auth-failed" } });
  });
  t.test("a host that later stages rely on, whatever its own stage tolerates (I1)", async (t) => {
    const all = { ...hosts("auth", 1), ...hosts("proxy", 2), ...hosts("node", 1) };
    const stages = [
      stage("hop-1.main.fetch", [Object.keys(all)], { budget: plenty }),
      stage("hop-1.main.auth", [["auth-1"]]),
      stage("hop-1.main.proxy", [["proxy-1", "proxy-2"]], { budget: plenty }),
      stage("hop-1.main.node", [["node-1"]], { budget: plenty }),
    ];
    const failing = (victim: string, kind: string, to: string) => {
      const run = new RunDriver(planOf([hop("hop-1", "5.4.2", to, stages)], all));
      run.flow(({ host, stage }) =>
        host === victim && stage.endsWith(kind) ? broken : { status: "done", changed: true },
      );
      return run.state;
    };
    t.match(failing("auth-1", "fetch", "6.2.31").openFailure, { cause: { code: "needed-failed" } });
    t.match(failing("proxy-2", "proxy", "6.2.31").openFailure, { cause: { code: "needed-failed" } });
    t.match(failing("node-1", "fetch", "6.2.31").ended, { result: "done" }, "nobody relies on a node");
    t.match(failing("proxy-2", "proxy", "5.9.0").ended, { result: "done" }, "nor on anyone inside one major");
  });
});

t.test(
  "a hop does not start over hosts that it would leave two majors behind, until a person says so (I1, I3)",
  async (t) => {
    const plan = clusterPlan(2);
    const noGates = {
      ...plan,
      hops: plan.hops.map((each) => ({ ...each, stages: each.stages.map((stage) => ({ ...stage, gate: null })) })),
    };
    const run = new RunDriver(noGates);
    run.flow(({ host, op }) => (host === "node-3" && op === "swap" ? broken : { status: "done", changed: true }));
    t.match(run.state.openFailure, {
      id: "hop-2.main.preflight.failure-1",
      cause: { code: "left-behind", message: /node-3/ },
      leftBehind: ["node-3"],
    });
    t.throws(() => run.record({ type: "stage-started", at: run.now, stage: "hop-2.main.preflight" }));
    run.command(skip(run.state, { by: "ann", reason: "it is being scrapped", hosts: [] }, run.now));
    run.flow();
    t.equal(run.state.ended?.result, "done");
    t.match(run.state.hosts.get("node-3")?.aside, { by: "ann" });
  },
);

t.test("a drifted host counts as drift even where a gate stands before the stage", async (t) => {
  const plan = planOf(
    [
      hop("hop-1", "5.4.2", "6.2.31", [
        stage("hop-1.main.node", [["node-1"]], { gate: gate("hop-1.main.node", { approvals: 0 }) }),
      ]),
    ],
    { "node-1": host() },
  );
  const run = new RunDriver(plan);
  run.flow(() => drifted);
  t.match(run.state.openFailure?.cause, { code: "drift", message: /a new plan is needed/ });
});
