import { approve, quarantine } from "@belay/controller/run/commands";
import { expectedEndAt, paceOf } from "@belay/controller/run/expect";
import { logLine } from "@belay/controller/run/log";
import { recapOf } from "@belay/controller/run/recap";
import { gateViewOf, gateViewsOf, viewOf } from "@belay/controller/run/view";
import { done, failed, type HostFacts, type Outcome, reverted } from "@belay/shared";
import t from "tap";
import { clusterPlan, nodesPlan } from "../support/plans.js";
import { RunDriver } from "../support/run-driver.js";

const ann = { by: "ann", reason: "fine", groups: [] };
const broken = failed({ code: "unhealthy", message: "never became ready" });

function factsOf(host: string, running: string, healthy = true): HostFacts {
  return {
    host,
    at: 0,
    agentVersion: "0.1.0",
    os: "linux",
    arch: "amd64",
    edition: "oss",
    fips: false,
    installed: running,
    running,
    kept: [running],
    service: { name: "teleport", state: "running", pid: 1, restarts: 0 },
    healthy,
    ailments: healthy ? [] : ["readyz says 503"],
    disks: [],
  };
}

function backupOf(host: string, verified: boolean) {
  return {
    backup: `b-${host}`,
    sha256: "a".repeat(64),
    bytes: 1000,
    items: 3,
    takenAt: 1,
    version: "5.4.2",
    verified,
  };
}

t.test("the recap counts steps in Ansible's words, a line a host in plan order", async (t) => {
  const run = new RunDriver(nodesPlan([["node-2", "node-1"], ["node-3"]], { budget: { batch: 1, stage: 1 } }));
  run.flow(({ host, op }) => (host === "node-1" && op === "health" ? broken : done(op === "swap")));
  t.same(recapOf(run.state), {
    run: "r1",
    result: "done",
    hosts: [
      { host: "node-2", ok: 1, changed: 1, unreachable: 0, failed: 0, skipped: 0, runs: "6.2.31" },
      { host: "node-1", ok: 0, changed: 1, unreachable: 0, failed: 1, skipped: 0, runs: "6.2.31" },
      { host: "node-3", ok: 1, changed: 1, unreachable: 0, failed: 0, skipped: 0, runs: "6.2.31" },
    ],
  });
  run.facts.set("node-1", factsOf("node-1", "5.4.2"));
  t.match(recapOf(run.state, run.world).hosts[1], { runs: "5.4.2" }, "what the host itself reports wins (I8)");
});

t.test("steps left out of a host set aside count as skipped", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"], ["node-2"]]));
  run.settle();
  run.command(quarantine(run.state, "node-2", ann, run.now));
  run.flow();
  t.match(recapOf(run.state).hosts[1], { host: "node-2", ok: 0, changed: 0, skipped: 2 });
});

t.test(
  "a gate shows what was done, what runs, what is ill, the backups, what comes next, and the way back",
  async (t) => {
    const run = new RunDriver(clusterPlan(2));
    for (const host of Object.keys(run.plan.hosts)) run.facts.set(host, factsOf(host, "5.4.2", host !== "node-4"));
    run.flow(({ host, op }) =>
      op.includes("backup") ? done(true, backupOf(host, op === "verify-backup")) : done(true),
    );
    const auth = run.state.openGate?.evidence;
    t.match(auth, {
      done: [
        { stage: "hop-1.main.preflight", hosts: 8, failed: 0 },
        { stage: "hop-1.main.backup", hosts: 2, failed: 0 },
      ],
      versions: [
        { role: "node", version: "5.4.2", hosts: 4 },
        { role: "auth", version: "5.4.2", hosts: 2 },
        { role: "proxy", version: "5.4.2", hosts: 2 },
      ],
      unhealthy: [{ host: "node-4", ailments: ["readyz says 503"] }],
      backups: [
        { host: "auth-1", bytes: 1000, verified: true },
        { host: "auth-2", verified: true },
      ],
      next: [{ stage: "hop-1.main.auth", hosts: ["auth-1"], more: 0 }],
      goingBack: { pointOfNoReturn: true, takes: /restored from the backup/, loses: /since that backup/ },
    });
    run.command(approve(run.state, "hop-1.main.auth", ann, run.now));
    run.command(approve(run.state, "hop-1.main.auth", { ...ann, by: "bob" }, run.now));
    run.flow();
    t.match(
      run.state.openGate?.evidence.goingBack,
      { pointOfNoReturn: false, takes: /restored/ },
      "it is behind us now",
    );
    t.match(
      run.state.openGate?.evidence.unhealthy,
      [{ host: "auth-2", ailments: [/stopped by this run/] }, { host: "node-4" }],
      "what the run itself stopped is no trouble, and is said to be none (I5)",
    );
  },
);

t.test("before anything has crossed, going back loses nothing", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.flow(() => broken);
  t.match(run.state.openFailure?.evidence, {
    failures: [{ host: "node-1", stage: "hop-1.main.node", error: { code: "unhealthy" } }],
    goingBack: { pointOfNoReturn: false, loses: "nothing" },
  });
});

t.test("a view shows stages, flights, the gate, waits and failures", async (t) => {
  const run = new RunDriver(clusterPlan());
  run.settle();
  const early = viewOf(run.state, run.world, run.now, { noteOf: (step) => `${step}: half way` });
  t.match(early, {
    id: "r1",
    kind: "upgrade",
    to: "6.2.31",
    status: "running",
    result: null,
    inFlightTotal: 8,
    gate: null,
    lastSeq: run.events.length,
    expectedEndAt: null,
    waits: [{ code: "steps-in-flight" }],
  });
  t.match(early.inFlight[0], { host: "auth-1", op: "preflight", note: "r1/hop-1.main.preflight/auth-1/0/1: half way" });
  t.match(early.stages[0], { status: "active", batch: 1, batches: 1, hosts: { total: 8, ok: 0, active: 8 } });
  run.flow();
  const waiting = viewOf(run.state, run.world, run.now);
  t.match(waiting, { status: "waiting", gate: { gate: "hop-1.main.auth", status: "open", approvalsNeeded: 2 } });
  t.match(waiting.stages[2], { id: "hop-1.main.auth", status: "gated", hosts: { total: 1 } });
  t.same(
    gateViewsOf(run.state).map(({ gate, status }) => `${gate} ${status}`),
    ["hop-1.main.auth open", "hop-1.main.auth-rest not-open", "hop-1.main.proxy not-open", "hop-1.main.node not-open"],
  );
});

t.test("a failure gate is a gate to look at, too", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.flow(() => broken);
  const view = viewOf(run.state, run.world, run.now);
  t.match(view, {
    status: "waiting",
    gate: { kind: "failure", status: "open", cause: { code: "budget-spent" } },
    failures: [{ host: "node-1", error: { code: "unhealthy" } }],
    waits: [{ code: "failure-gate-open", unblock: /belay run retry r1/ }],
  });
  t.match(gateViewOf(run.state, "hop-1.main.node.failure-1"), { kind: "failure", stage: "hop-1.main.node" });
});

t.test("a run that only waits for absent hosts is waiting, not running", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"]]));
  run.absent.add("node-1");
  run.settle();
  t.match(viewOf(run.state, run.world, run.now), { status: "waiting", waits: [{ code: "hosts-offline" }] });
});

t.test("the expected end follows the pace so far, and that of earlier runs for what has not begun", async (t) => {
  const run = new RunDriver(nodesPlan([["node-1"], ["node-2"], ["node-3"], ["node-4"]]));
  run.settle();
  t.equal(expectedEndAt(run.state, run.now), null, "nobody can tell yet");
  t.equal(expectedEndAt(run.state, run.now, { node: 5_000 }), run.now + 20_000, "earlier runs can");
  for (const op of ["swap", "health"]) {
    run.now += 1_500;
    t.equal(run.flights()[0]?.op, op);
    run.answer("node-1");
    run.settle();
  }
  t.equal(expectedEndAt(run.state, run.now), run.now + 9_000, "3 s a host, three to go");
  run.flow();
  t.same(paceOf(run.state), { node: 750 }, "3 s over four hosts");
  t.equal(expectedEndAt(run.state, run.now), null, "ended");
});

t.test("every event is a sentence", async (t) => {
  const run = new RunDriver(clusterPlan());
  run.flow(({ host }) => (host === "node-2" ? broken : done(true)));
  const lines = run.events.map((event, index) => logLine(index + 1, event, run.plan));
  for (const { message, at, seq } of lines)
    t.ok(message.length > 5 && at > 0 && seq > 0 && !/undefined|null|\[object/.test(message), message);
  const said = (pattern: RegExp) => lines.find(({ message }) => pattern.test(message));
  t.match(said(/started plan f{12} to 6\.2\.31 as run r1/), { level: "info", host: null });
  t.match(said(/^node-2: failed, never became ready \(unhealthy\)$/), {
    level: "error",
    host: "node-2",
    stage: "hop-1.main.preflight",
  });
  t.match(said(/^stopped at failure gate hop-1\.main\.preflight\.failure-1/), { level: "error" });
});

t.test("what a host's own hooks said stands in the run's log", async (t) => {
  const run = new RunDriver(clusterPlan());
  const hooks = [
    { hook: "drain.d/10-lb", exit: 0, output: "3 sessions moved" },
    { hook: "undrain", exit: 0, output: "" },
  ];
  const saying = (outcome: Outcome) =>
    logLine(1, { type: "step-ended", at: 1, step: "r1/hop-1.main.node/node-1/0/1", outcome }, run.plan).message;
  const all = "hook drain.d/10-lb: 3 sessions moved; hook undrain";
  t.equal(saying(done(true, { hooks })), `node-1: done, changed; ${all}`);
  const error = { code: "hook-failed", message: "no logins", hint: "", context: { hooks } };
  t.equal(saying(failed(error)), `node-1: failed, no logins (hook-failed); ${all}`);
  t.equal(saying(reverted(error)), `node-1: did not hold and was undone, no logins (hook-failed); ${all}`);
});
