import { approve, pause, retry } from "@belay/controller/run/commands";
import type { RunEvent } from "@belay/controller/run/event";
import type { Evidence } from "@belay/controller/run/evidence";
import { fold, replay } from "@belay/controller/run/fold";
import { phaseOf, TRANSITIONS } from "@belay/controller/run/phase";
import { IllegalEvent, legal } from "@belay/controller/run/transitions";
import { done } from "@belay/shared";
import t from "tap";
import { gate, hop, host, nodesPlan, planOf, stage } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const STAGE = "hop-1.main.node";
const ann = { by: "ann", reason: "because", groups: [], hosts: [] };
const evidence: Evidence = {
  done: [],
  versions: [],
  unhealthy: [],
  failures: [],
  backups: [],
  next: [],
  goingBack: { pointOfNoReturn: false, takes: "", loses: "" },
};

const plan = planOf(
  [hop("hop-1", "5.4.2", "6.2.31", [stage(STAGE, [["node-1", "node-2"]], { gate: gate(STAGE), parallel: 1 })])],
  { "node-1": host(), "node-2": host() },
);
const broken = { status: "failed", retryable: false, error: { code: "unhealthy", message: "no" } } as const;

/** One run in each phase, brought there by legal events only. */
const PLACES: Record<string, () => RunDriver> = {
  between: () => new RunDriver(plan),
  gated: () => settled(PLACES.between),
  working: () => {
    const run = settled(PLACES.gated);
    run.command(approve(run.state, STAGE, ann, run.now));
    run.settle();
    return run;
  },
  draining: () => {
    const run = start("working");
    run.answer("node-1", broken);
    return run;
  },
  failure: () => settled(PLACES.draining),
  pausing: () => paused("working"),
  paused: () => paused("gated"),
  ending: () => {
    const run = start("working");
    run.record({ type: "abort-asked", at: run.now, by: "ann", reason: "enough" });
    return run;
  },
  ended: () => {
    const run = start("ending");
    run.answer("node-1");
    run.settle();
    return run;
  },
};

function start(name: string): RunDriver {
  const place = PLACES[name];
  if (place === undefined) throw new Error(name);
  return place();
}

function settled(place: (() => RunDriver) | undefined): RunDriver {
  const run = place?.() ?? new RunDriver(plan);
  run.settle();
  return run;
}

function paused(name: string): RunDriver {
  const run = start(name);
  run.command(pause(run.state, ann, run.now));
  return run;
}

const at = 1_000_500;
const intended = {
  type: "step-intended",
  at,
  step: `r1/${STAGE}/node-1/0/1`,
  stage: STAGE,
  batch: 0,
  host: "node-1",
  index: 0,
  op: "swap",
  attempt: 1,
  deadlineAt: at + 60_000,
} as const;

/** One event of each type, as plausible as it can be without knowing the state. */
const EVENTS: readonly RunEvent[] = [
  { type: "run-started", at, run: "r1", plan: plan.id, check: false, by: "ann", fence: 1 },
  { type: "lease-taken", at, owner: "b", fence: 2 },
  { type: "stage-started", at, stage: STAGE },
  { type: "stage-finished", at, stage: STAGE },
  { type: "batch-started", at, stage: STAGE, batch: 0 },
  { type: "gate-opened", at, gate: STAGE, evidence, expiresAt: at + 1 },
  { type: "gate-decided", at, gate: STAGE, decision: "approve", by: "bob", groups: [], reason: "" },
  { type: "approval-lapsed", at, gate: STAGE, of: "bob" },
  {
    type: "approval-renewed",
    at,
    gate: STAGE,
    by: "bob",
    groups: [],
    reason: "",
    signed: { statement: "{}", signature: "", key: "SHA256:b" },
  },
  { type: "gate-passed", at, gate: STAGE, how: "approvals" },
  { type: "gate-expired", at: at + 10_000_000, gate: STAGE, action: "hold" },
  intended,
  { type: "step-ended", at, step: intended.step, outcome: done(true) },
  { type: "failure-opened", at, gate: `${STAGE}.failure-1`, stage: STAGE, cause: broken.error, evidence },
  { type: "failure-decided", at, gate: `${STAGE}.failure-1`, decision: "retry", hosts: [], by: "ann", reason: "" },
  { type: "host-unreachable", at: at + 10_000_000, stage: STAGE, batch: 0, host: "node-2" },
  { type: "host-quarantined", at, host: "node-2", by: "ann", reason: "" },
  { type: "host-released", at, host: "node-2", by: "ann", reason: "" },
  { type: "pause-asked", at, by: "ann", reason: "" },
  { type: "resumed", at, by: "ann" },
  { type: "abort-asked", at, by: "ann", reason: "" },
  { type: "run-ended", at, result: "aborted", reason: "" },
];

/** What happens to each of them, in the order above: `ok`, or the code of the refusal. */
const LAW: Record<string, string> = {
  between:
    "event-out-of-order ok gate-not-passed event-out-of-order event-out-of-order ok gate-not-open gate-not-open nothing-to-renew event-out-of-order event-out-of-order event-out-of-order step-not-open nothing-failed failure-gate-unknown event-out-of-order ok host-not-quarantined ok run-not-paused ok run-unfinished",
  gated:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order ok not-approved nothing-to-renew approvals-missing ok event-out-of-order step-not-open event-out-of-order failure-gate-unknown event-out-of-order ok host-not-quarantined ok run-not-paused ok event-out-of-order",
  working:
    "event-out-of-order ok event-out-of-order batch-unfinished batch-out-of-order event-out-of-order gate-passed gate-passed nothing-to-renew event-out-of-order event-out-of-order step-out-of-order ok event-out-of-order failure-gate-unknown ok ok host-not-quarantined ok run-not-paused ok event-out-of-order",
  draining:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order gate-passed gate-passed nothing-to-renew event-out-of-order event-out-of-order event-out-of-order step-not-open ok failure-gate-unknown event-out-of-order ok host-not-quarantined ok run-not-paused ok event-out-of-order",
  failure:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order gate-passed gate-passed nothing-to-renew event-out-of-order event-out-of-order event-out-of-order step-not-open event-out-of-order ok event-out-of-order ok host-not-quarantined ok run-not-paused run-at-failure-gate event-out-of-order",
  pausing:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order gate-passed gate-passed nothing-to-renew event-out-of-order event-out-of-order event-out-of-order ok event-out-of-order failure-gate-unknown event-out-of-order ok host-not-quarantined run-paused ok ok event-out-of-order",
  paused:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order ok not-approved nothing-to-renew event-out-of-order event-out-of-order event-out-of-order step-not-open event-out-of-order failure-gate-unknown event-out-of-order ok host-not-quarantined run-paused ok ok event-out-of-order",
  ending:
    "event-out-of-order ok event-out-of-order event-out-of-order event-out-of-order event-out-of-order gate-passed gate-passed event-out-of-order event-out-of-order event-out-of-order event-out-of-order ok event-out-of-order failure-gate-unknown event-out-of-order event-out-of-order event-out-of-order run-ending run-not-paused run-ending steps-in-flight",
  ended: EVENTS.map(() => "run-ended").join(" "),
};

for (const phase of Object.keys(TRANSITIONS)) {
  t.test(`every event in a run that is ${phase}`, async (t) => {
    t.equal(phaseOf(start(phase).state), phase);
    const verdicts = EVENTS.map((event) => {
      const { state } = start(phase);
      const illegal = legal(state, event);
      if (illegal === null) {
        t.ok(TRANSITIONS[phase as "gated"][event.type]?.includes(phaseOf(fold(state, event, plan))), event.type);
        return "ok";
      }
      t.ok(illegal instanceof IllegalEvent && illegal.event === event.type);
      t.throws(() => fold(state, event, plan), { code: illegal.code, name: "IllegalEvent" });
      t.same(state, start(phase).state, `${event.type} was refused and changed nothing`);
      return illegal.code;
    });
    const law = LAW[phase]?.split(" ") ?? [];
    t.same(
      EVENTS.map(({ type }, index) => `${type}: ${verdicts[index]}`),
      EVENTS.map(({ type }, index) => `${type}: ${law[index]}`),
    );
  });
}

t.test("before run-started nothing may happen, and only for the plan it names", async (t) => {
  for (const event of EVENTS.slice(1)) t.throws(() => fold(null, event, plan), { code: "run-not-started" });
  const [started] = EVENTS;
  if (started === undefined) throw new Error("no events");
  t.throws(() => fold(null, started, { ...plan, id: "0".repeat(64) }), { code: "plan-mismatch" });
  t.throws(() => replay(plan, []), TypeError);
});

t.test("a step must be the right one in every detail (I7)", async (t) => {
  const run = start("working");
  run.answer("node-1");
  const next = run.decide().events[0];
  if (next?.type !== "step-intended") throw new Error("a step should come next");
  t.equal(legal(run.state, next), null);
  const wrong = [
    { batch: 1 },
    { host: "node-9" },
    { index: 0 },
    { index: 2 },
    { op: "noop" as const },
    { attempt: 2 },
    { step: `${next.step}1` },
    { deadlineAt: next.at },
    { stage: "hop-1.main.proxy" },
  ];
  for (const detail of wrong) {
    t.equal(legal(run.state, { ...next, ...detail })?.code, "step-out-of-order", JSON.stringify(detail));
  }
  run.record(next);
  const other = { ...next, host: "node-2", step: `r1/${STAGE}/node-2/0/1`, index: 0, op: "swap" as const };
  t.equal(legal(run.state, other)?.code, "too-many-in-flight", "parallel is 1");
});

t.test("a batch whose program the plan doesn't have never starts", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]], { program: "missing" }));
  t.throws(() => run.settle(), { code: "program-unknown" });
});

t.test("an empty program is done at once", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"], []], { program: "nothing" }));
  run.settle();
  t.equal(run.state.ended?.result, "done");
});

t.test("a retry that names nobody, when nobody is left failed, just goes on", async (t) => {
  const run = start("failure");
  run.record({ type: "host-quarantined", at, host: "node-1", by: "ann", reason: "mine" });
  run.command(retry(run.state, ann, at));
  run.flow();
  t.equal(run.state.ended?.result, "done");
});
