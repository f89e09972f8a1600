import { recapOf } from "@belay/controller/run/recap";
import { done, failed } from "@belay/shared";
import t from "tap";
import { clusterPlan, nodesPlan } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

t.test("a check passes gates over, visits the first hop only, and asks every host every op", async (t) => {
  const run = new RunDriver(clusterPlan(2), { check: true });
  run.flow(({ op }) => done(op === "swap"));
  t.match(run.state.ended, { result: "done", reason: "every agent has said what it would do" });
  t.same(
    [...new Set(run.events.map(({ type }) => type))],
    ["run-started", "stage-started", "batch-started", "step-intended", "step-ended", "stage-finished", "run-ended"],
  );
  t.ok(run.events.every((event) => event.type !== "stage-started" || event.stage.startsWith("hop-1")));
  const auth = recapOf(run.state).hosts.find(({ host }) => host === "auth-1");
  t.match(auth, { changed: 1, failed: 0, runs: "5.4.2", would: ["hop-1.main.auth: swap"] });
});

t.test("failures stop no check, whatever fails: every host gets its answer", async (t) => {
  const run = new RunDriver(clusterPlan(1), { check: true });
  run.flow(() => failed({ code: "drift", message: "something else is there" }));
  t.equal(run.state.ended?.result, "done");
  const intended = run.events.filter(({ type }) => type === "step-intended").length;
  // preflight 8, backup 2x2, stop 1, auth 2x3, proxies 2x2, nodes 4x2, verify 8
  t.equal(intended, 8 + 4 + 1 + 6 + 4 + 8 + 8);
});

t.test("hosts that do not answer a check are asked once, not once a stage", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1", "node-2"]], { stepTimeoutMs: 30_000 }), { check: true });
  run.absent.add("node-1");
  run.flow();
  run.now += 30_000;
  run.flow();
  t.equal(run.state.ended?.result, "done");
  t.match(recapOf(run.state).hosts, [
    { host: "node-1", unreachable: 1, skipped: 1 },
    { host: "node-2", changed: 2 },
  ]);
});
