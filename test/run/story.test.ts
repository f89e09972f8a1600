import { approve } from "@belay/controller/run/commands";
import { replay } from "@belay/controller/run/fold";
import t from "tap";
import { clusterPlan } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const ann = { by: "ann", reason: "evidence read", groups: [] };

t.test("a run of two hops goes from gate to gate to its end, and its log gives the same state again", async (t) => {
  const run = new RunDriver(clusterPlan(2));
  const gates: string[] = [];
  for (;;) {
    const { waits } = run.flow();
    const wait = waits[0];
    if (wait?.code === "ended") break;
    t.equal(wait?.code, "gate-open");
    gates.push(wait?.gate ?? "");
    run.command(approve(run.state, wait?.gate ?? "", ann, run.now));
    if (run.state.openGate?.gate.approvals === 2) {
      t.equal(run.flow().waits[0]?.code, "gate-open", "one approval of two opens nothing (I6)");
      run.command(approve(run.state, wait?.gate ?? "", { ...ann, by: "bob" }, run.now));
    }
  }
  const kinds = ["auth", "auth-rest", "proxy", "node"];
  t.same(gates, [...kinds.map((kind) => `hop-1.main.${kind}`), ...kinds.map((kind) => `hop-2.main.${kind}`)]);
  t.match(run.state.ended, { result: "done", reason: "every stage is finished" });
  t.equal(run.state.hosts.get("node-4")?.reached, "7.1.0");
  t.same(replay(run.plan, run.events), run.state);
});
