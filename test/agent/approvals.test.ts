import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Approvals, Journal, parseConfig } from "@belay/agent";
import { BelayError, done, type Op, parseAllowedSigners, reverted, type Step } from "@belay/shared";
import t, { type Test } from "tap";
import { ApprovedPlan, newApprover } from "../support/approved.js";
import { MemoryDisk } from "./support/memory-disk.js";
import { World } from "./support/world.js";

const [maria, tom, eve] = [newApprover("maria"), newApprover("tom"), newApprover("eve")];
const marias = { ...newApprover("maria"), name: "maria" };
const SIGNERS = [maria, tom, marias].map(({ line }) => line).join("\n");
const HOUR_MS = 3_600_000;
const stop = (timeoutMs = 1000): Op => ({ kind: "stop", service: "svc", timeoutMs });
const backup = (id: string): Op => ({ kind: "backup", spec: { id, dir: "/b", items: [], version: null } });
const STEPS: Op[] = [stop(1), stop(2), backup("run-1.hop-1.host-1"), stop(3)];
const plan = new ApprovedPlan(
  "run-1",
  STEPS.flatMap((op) => [
    { host: "host-1", op },
    { host: "host-2", op: stop() },
  ]),
);
/** Index in the plan of the so-manieth step of host-1. */
const own = (seq: number) => 2 * seq;

/** A host that believes two of its approvers, with a journal in memory and a clock of its own. */
async function scene(disk = new MemoryDisk(), threshold = 2, madeAt = 1) {
  const world = { now: Date.now(), maxAgeMs: 24 * HOUR_MS };
  const journal = await Journal.open(disk, { id: () => "0f0f0f0f", now: madeAt, keepAcked: 2 });
  const approvals = new Approvals({
    config: {
      by: "approvers",
      fleet: "acme",
      signers: "/etc/belay/approvers",
      threshold,
      get maxAgeMs() {
        return world.maxAgeMs;
      },
      programs: [],
    },
    host: "host-1",
    clock: { now: () => world.now },
    journal,
    signers: async (file) => parseAllowedSigners(SIGNERS, file),
  });
  const begin = async (step: Step) => {
    const verdict = await approvals.judge(step);
    if (verdict.kind !== "due") throw new Error(`it is ${verdict.kind}`);
    const { approved, deadlineMs } = verdict;
    const { fence, check, op } = step;
    await journal.accept({ step: step.step, op, fence, check, deadlineMs, at: world.now, approved });
  };
  const end = (step: Step, outcome = done(true)) => journal.end(step.step, { outcome, startedAt: 1, endedAt: 2 });
  const carryOut = async (step: Step) => {
    await begin(step);
    await end(step);
  };
  const codeOf = async (step: Step) => {
    try {
      return (await approvals.judge(step)).kind;
    } catch (error) {
      if (error instanceof BelayError) return error.code;
      throw error;
    }
  };
  return { world, journal, approvals, begin, end, carryOut, codeOf };
}

const both = [plan.sign(maria), plan.sign(tom)];

t.test("a step that enough people approved is due, for as long as they approved", async (t) => {
  const { approvals } = await scene();
  t.match(await approvals.judge(plan.step(own(0), both, { deadlineMs: 1 })), {
    kind: "due",
    approved: { run: "run-1", seq: 0, root: plan.tree.root.toString("hex") },
    deadlineMs: 60_000,
  });
});

t.test("looking needs nobody's approval; what could change the host, or run its commands, does", async (t) => {
  const { codeOf } = await scene();
  const probe = { service: "svc", versionsDir: "/v", link: "/l", version: [], checks: [], disks: [] };
  const command = { kind: "command", command: "restore-etcd", timeoutMs: 1 } as const;
  const unproven = (op: Op, check = false): Step => ({
    type: "step",
    step: "r/s/h/0/1",
    fence: 1,
    check,
    deadlineMs: 1,
    op,
  });
  const copy = { sha256: "00".repeat(32), bytes: 1, encrypted: false };
  t.equal(await codeOf(unproven({ kind: "noop" })), "free");
  t.equal(await codeOf(unproven({ kind: "facts", probe })), "free");
  t.equal(await codeOf(unproven({ kind: "verify-backup", id: "b", dir: "/b" })), "free");
  t.equal(await codeOf(unproven(stop(), true)), "free", "a check says what would be done");
  t.equal(await codeOf(unproven(stop())), "approval-missing");
  t.equal(await codeOf(unproven(backup("b"))), "approval-missing");
  t.equal(await codeOf(unproven({ kind: "verify-backup", id: "b", dir: "/b", copy })), "approval-missing");
  t.equal(await codeOf(unproven({ kind: "verify-backup", id: "b", dir: "/b", orCopy: copy })), "approval-missing");
  t.equal(await codeOf(unproven({ kind: "facts", probe: { ...probe, checks: [command] } })), "approval-missing");
  const start: Op = { kind: "start", service: "svc", checks: [command], settleMs: 1, timeoutMs: 1 };
  t.equal(await codeOf(unproven(start, true)), "approval-missing");
});

t.test("an approval counts for what was approved, and for nothing else (I6)", async (t) => {
  const { codeOf, world } = await scene();
  const now = world.now;
  const other = new ApprovedPlan("run-1", [{ host: "host-1", op: stop(9) }]);
  const staging = new ApprovedPlan("run-1", plan.steps, { fleet: "staging" });
  const first = (approvals = both) => plan.step(own(0), approvals);
  const refused: [string, Step, string][] = [
    ["approval-missing", first([]), "nobody signed"],
    ["approval-missing", first([both[0] as never]), "one short"],
    ["approval-missing", first([plan.sign(maria), plan.sign(maria, { at: now - 1 })]), "one person twice"],
    ["approval-missing", first([plan.sign(maria), plan.sign(marias)]), "one person's two keys"],
    ["approval-unknown-signer", first([plan.sign(maria), plan.sign(eve)]), "a stranger"],
    ["approval-expired", first([plan.sign(maria), plan.sign(tom, { expires: now })]), "expired"],
    [
      "approval-expired",
      first([plan.sign(maria), plan.sign(tom, { at: now - 24 * HOUR_MS, expires: now + 1 })]),
      "too old",
    ],
    ["approval-not-yet-valid", first([plan.sign(maria), plan.sign(tom, { at: now + HOUR_MS })]), "from the future"],
    ["approval-wrong-run", first([plan.sign(maria), plan.sign(tom, { run: "run-2" })]), "another run"],
    ["approval-wrong-gate", first([plan.sign(maria), plan.sign(tom, { gate: "hop-1.main.auth" })]), "another gate"],
    ["approval-wrong-plan", first([plan.sign(maria), other.sign(tom)]), "another plan"],
    ["approval-wrong-plan", first([plan.sign(maria), plan.sign(tom, { plan: "00".repeat(32) })]), "not one plan"],
    ["approval-wrong-fleet", first([staging.sign(maria), staging.sign(tom)]), "another fleet's host of this name"],
    ["signature-invalid", first([plan.sign(maria), plan.sign(tom, {}, "file")]), "signed for something else"],
    ["approval-wrong-host", plan.step(1, both), "another host's step"],
    ["proof-invalid", { ...first(), op: stop(2) }, "another op"],
    ["approval-wrong-run", { ...first(), step: "run-2/hop-1.main.node/host-1/0/1" }, "another run's step"],
    ["proof-invalid", { ...first(), step: "run-1/hop-1.main.node/host-1/1/1" }, "another step's id"],
    ["proof-invalid", { ...first(), step: "run-1/hop-1.main.node/host-1/0/0" }, "no attempt"],
  ];
  for (const [code, step, why] of refused) t.equal(await codeOf(step), code, why);
  const altered = { ...plan.proof(own(0), both) };
  const step = first();
  t.equal(await codeOf({ ...step, proof: { ...altered, at: 2 } }), "approval-wrong-plan", "another place");
  t.equal(
    await codeOf({ ...step, proof: { ...altered, leaf: { ...altered.leaf, timeoutMs: 9_999_999 } } }),
    "approval-wrong-plan",
    "more time than was approved",
  );
  t.equal(
    await codeOf({ ...step, proof: { ...altered, leaf: { ...altered.leaf, gate: "hop-0" } } }),
    "approval-wrong-gate",
  );
  t.equal(await codeOf(first([...both, plan.sign(eve), plan.sign(tom, { expires: 1 })])), "due", "others do no harm");
});

t.test("a statement in any other form than the canonical one is nobody's approval", async (t) => {
  const { codeOf } = await scene();
  const [a, b] = both as [{ statement: string; signature: string }, { statement: string; signature: string }];
  for (const statement of [`${b.statement} `, b.statement.replace("{", '{"more":1,'), "null", "x"]) {
    t.equal(await codeOf(plan.step(own(0), [a, { ...b, statement }])), "statement-malformed");
  }
});

t.test("steps come in their order, each once, the next only when the one before is done", async (t) => {
  const { codeOf, begin, end, carryOut } = await scene();
  const step = (seq: number, attempt = 1) => plan.step(own(seq), both, { attempt });
  t.equal(await codeOf(step(1)), "out-of-order");
  await begin(step(0));
  t.equal(await codeOf(step(1)), "out-of-order", "the first has not ended");
  t.equal(await codeOf(step(0, 2)), "step-in-progress");
  await end(step(0), reverted({ code: "unhealthy", message: "it did not hold" }));
  t.equal(await codeOf(step(1)), "out-of-order", "the first did not hold");
  await carryOut(step(0, 2));
  t.equal(await codeOf(step(0, 3)), "done", "answered, not done again");
  await carryOut(step(1));
  t.equal(await codeOf(step(0, 3)), "replayed");
  t.equal(await codeOf(step(3)), "out-of-order");
  await carryOut(step(2));
  await carryOut(step(3));
});

t.test(
  "what was begun under an approval is finished after it expired, by a later life too; nothing new is begun",
  async (t) => {
    const disk = new MemoryDisk();
    const before = await scene(disk);
    await before.begin(plan.step(own(0), both));
    await before.journal.close();
    const after = await scene(new MemoryDisk(disk.bytes));
    after.world.now += 2 * HOUR_MS;
    t.equal(await after.codeOf(plan.step(own(1), both)), "approval-expired");
    await after.end(plan.step(own(0), both));
    t.match(after.journal.approvedRun("run-1"), { done: 0, last: plan.step(own(0), both).step });
    const { now } = after.world;
    const again = [plan.sign(maria, { at: now }), plan.sign(tom, { at: now })];
    t.equal(await after.codeOf(plan.step(own(1), again)), "due", "signed anew, it goes on");
  },
);

t.test("a run that another one followed is over", async (t) => {
  const { codeOf, carryOut } = await scene();
  const back = new ApprovedPlan("run-2", [{ host: "host-1", op: stop(7) }]);
  await carryOut(plan.step(own(0), both));
  await carryOut(back.step(0, [back.sign(maria), back.sign(tom)]));
  t.equal(await codeOf(plan.step(own(1), both)), "approval-superseded");
});

t.test("one run carries out one plan", async (t) => {
  const { codeOf, carryOut } = await scene();
  const other = new ApprovedPlan("run-1", [
    { host: "host-1", op: stop(1) },
    { host: "host-1", op: stop(8) },
  ]);
  await carryOut(plan.step(own(0), both));
  t.equal(await codeOf(other.step(1, [other.sign(maria), other.sign(tom)])), "approval-wrong-plan");
});

t.test("what was done is remembered over restarts and compaction, until nothing of it counts any more", async (t) => {
  const disk = new MemoryDisk();
  const before = await scene(disk);
  await before.carryOut(plan.step(own(0), both));
  await before.carryOut(plan.step(own(1), both));
  for (const seq of [0, 1]) before.journal.ack(plan.step(own(seq), both).step);
  for (let n = 0; n < 600; n++) {
    const id = `r/s/h/${n}/1`;
    await before.journal.accept({ step: id, op: { kind: "noop" }, fence: 1, check: false, deadlineMs: 1, at: 1 });
    await before.journal.end(id, { outcome: done(false), startedAt: 1, endedAt: 1 });
    before.journal.ack(id);
  }
  await before.journal.close();
  t.ok(disk.replaced > 0, "it was compacted");

  const { codeOf, carryOut, journal, world } = await scene(new MemoryDisk(disk.bytes));
  t.equal(journal.entry(plan.step(own(0), both).step), undefined, "the step itself is long forgotten");
  t.equal(await codeOf(plan.step(own(0), both, { attempt: 7 })), "replayed");
  t.equal(await codeOf(plan.step(own(1), both, { attempt: 7 })), "done");
  t.equal(await codeOf(plan.step(own(2), both)), "due");
  world.now += 91 * 24 * HOUR_MS;
  const later = new ApprovedPlan("run-3", [{ host: "host-1", op: stop(7) }]);
  const laterStep = () =>
    later.step(
      0,
      [maria, tom].map((each) => later.sign(each, { at: world.now })),
    );
  t.equal(await codeOf(laterStep()), "due");
  t.ok(journal.approvedRun("run-1"), "a clock that jumped alone makes nothing forgotten");
  await carryOut(laterStep());
  const last = new ApprovedPlan("run-4", [{ host: "host-1", op: stop(7) }]);
  t.equal(
    await codeOf(
      last.step(
        0,
        [maria, tom].map((each) => last.sign(each, { at: world.now })),
      ),
    ),
    "due",
  );
  t.equal(journal.approvedRun("run-1"), undefined, "the next step confirmed it");
  t.equal(await codeOf(plan.step(own(0), both)), "approval-expired");
});

t.test("a run is remembered for longer than maxAge, which may be raised later", async (t) => {
  const { codeOf, carryOut, world } = await scene();
  const signed = [maria, tom].map((each) => plan.sign(each, { at: world.now, expires: world.now + 30 * 24 * HOUR_MS }));
  await carryOut(plan.step(own(0), signed));
  for (const [run, days] of [
    ["run-2", 2],
    ["run-3", 1],
  ] as const) {
    world.now += days * 24 * HOUR_MS;
    const next = new ApprovedPlan(run, [{ host: "host-1", op: stop(7) }]);
    await carryOut(
      next.step(
        0,
        [maria, tom].map((each) => next.sign(each, { at: world.now })),
      ),
    );
  }
  t.equal(await codeOf(plan.step(own(0), signed, { attempt: 2 })), "approval-expired");
  world.maxAgeMs = 90 * 24 * HOUR_MS;
  t.equal(await codeOf(plan.step(own(0), signed, { attempt: 2 })), "approval-superseded");
});

t.test("a step that does not hold is tried so often, over restarts and compaction, and then no more", async (t) => {
  const disk = new MemoryDisk();
  const reason = { code: "unhealthy", message: "it did not hold" };
  const before = await scene(disk);
  await before.carryOut(plan.step(own(0), both));
  for (let attempt = 1; attempt <= 19; attempt++) {
    const step = plan.step(own(1), both, { attempt });
    await before.begin(step);
    await before.end(step, reverted(reason));
    before.journal.ack(step.step);
  }
  for (let n = 0; n < 600; n++) {
    const id = `r/s/h/${n}/1`;
    await before.journal.accept({ step: id, op: { kind: "noop" }, fence: 1, check: false, deadlineMs: 1, at: 1 });
    await before.journal.end(id, { outcome: done(false), startedAt: 1, endedAt: 1 });
    before.journal.ack(id);
  }
  await before.journal.close();
  t.ok(disk.replaced > 0, "it was compacted");

  const { codeOf, begin, end } = await scene(new MemoryDisk(disk.bytes));
  const last = plan.step(own(1), both, { attempt: 20 });
  await begin(last);
  t.equal(await codeOf(plan.step(own(1), both, { attempt: 21 })), "step-in-progress");
  await end(last, reverted(reason));
  t.equal(await codeOf(plan.step(own(1), both, { attempt: 21 })), "approval-spent");
});

t.test("each step of a run has its own tries", async (t) => {
  const { codeOf, begin, end, carryOut } = await scene();
  for (let seq = 0; seq < 2; seq++) {
    for (let attempt = 1; attempt < 20; attempt++) {
      const step = plan.step(own(seq), both, { attempt });
      await begin(step);
      await end(step, reverted({ code: "unhealthy", message: "it did not hold" }));
    }
    await carryOut(plan.step(own(seq), both, { attempt: 20 }));
  }
  t.equal(await codeOf(plan.step(own(2), both)), "due");
});

t.test("a host that lost its journal does nothing again of what was signed before", async (t) => {
  const disk = new MemoryDisk();
  const before = await scene(disk);
  await before.carryOut(plan.step(own(0), both));
  t.equal(await before.codeOf(plan.step(own(0), both, { attempt: 2 })), "done");

  const begun = Date.now() + 1_000;
  const { codeOf, world } = await scene(new MemoryDisk(), 2, begun);
  world.now = begun + 1_000;
  t.equal(await codeOf(plan.step(own(0), both, { attempt: 2 })), "approval-before-journal");
  const [maybe, late] = [plan.sign(maria, { at: begun - 1 }), plan.sign(tom, { at: begun })];
  t.equal(await codeOf(plan.step(own(0), [maybe, late])), "approval-before-journal", "not enough of them after it");
  t.equal(await codeOf(plan.step(own(0), [plan.sign(maria, { at: begun }), late])), "due", "signed anew, it counts");
});

t.test("a backup is named after its run and its host, and after no other's", async (t) => {
  const { codeOf, carryOut } = await scene();
  await carryOut(plan.step(own(0), both));
  await carryOut(plan.step(own(1), both));
  const asked = (id: string) => codeOf({ ...plan.step(own(2), both), op: backup(id) });
  t.equal(await asked("run-1.hop-1.host-1"), "due");
  for (const id of ["run-2.hop-1.host-1", "run-1.hop-1.host-2", "@run@.hop-1.@host@", "run-1.hop-1.host-1.cold"]) {
    t.equal(await asked(id), "proof-invalid", id);
  }
});

t.test("agent.yaml says whose word counts", async (t) => {
  const yaml = (approve: string) => `controller: http://127.0.0.1:1
host: host-1
tokenFile: /etc/belay/token
directories: [/opt/belay]
${approve}
`;
  const read = (approve: string) => parseConfig(yaml(approve), "agent.yaml").approve;
  t.same(read(""), { by: "controller" });
  t.same(read("approve: { by: approvers, fleet: acme }"), {
    by: "approvers",
    fleet: "acme",
    signers: "/etc/belay/approvers",
    threshold: 1,
    maxAgeMs: 7 * 24 * HOUR_MS,
    programs: [],
  });
  t.match(read("approve: { by: approvers, fleet: acme, threshold: 2, maxAge: 90m }"), {
    threshold: 2,
    maxAgeMs: 5_400_000,
  });
  for (const wrong of [
    "approve: { by: anybody }",
    "approve: { by: approvers }",
    "approve: { by: approvers, fleet: acme, threshold: 0 }",
    "approve: { by: approvers, fleet: acme, maxAge: soon }",
    "approve: { by: approvers, fleet: acme, maxAge: 365d }",
    "approve: { by: controller, threshold: 2 }",
    "approve: { by: approvers, fleet: acme, signers: /var/lib/belay-agent/approvers }",
  ]) {
    t.throws(() => read(wrong), { code: "config-invalid" }, wrong);
  }
});

const REAL = { timeout: 120_000 };

async function realHost(t: Test, signers: string) {
  const world = await World.make(t);
  const file = join(t.testdir(), "approvers");
  writeFileSync(file, signers, { mode: 0o644 });
  world.more = `approve: { by: approvers, fleet: acme, signers: ${file}, threshold: 2 }`;
  world.install("5.4.2");
  world.linkTo("5.4.2");
  world.initially = "running";
  const fetched = await world.release("6.2.31");
  const { sha256 } = fetched;
  const swap = world.swapOp("5.4.2", "6.2.31", { sha256 });
  const approved = new ApprovedPlan(
    "run-1",
    [fetched, swap].map((op) => ({ host: "host-1", op })),
  );
  world.spawn();
  await world.controller.connected();
  // A process that a swap ends before it has begun to speak is one that was started, and doesn't say so.
  while (world.startsOf("5.4.2") === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const signatures = [approved.sign(maria), approved.sign(tom)];
  const ask = async (step: Step) => {
    const from = world.controller.told.length;
    world.controller.socket?.send(JSON.stringify(step));
    return (await world.controller.outcome(step.step, from)).outcome;
  };
  return { world, file, approved, signatures, ask };
}

t.test(
  "an agent process does what people approved, step by step, and answers a repeat without doing it",
  REAL,
  async (t) => {
    const { world, approved, signatures, ask } = await realHost(t, SIGNERS);
    t.match(await ask(approved.step(1, signatures)), {
      status: "failed",
      retryable: false,
      error: { code: "out-of-order" },
    });
    t.match(await ask(approved.step(0, signatures)), { status: "done", changed: true });
    t.match(await ask(approved.step(1, signatures, { deadlineMs: 1 })), {
      status: "done",
      result: { running: "6.2.31" },
    });
    t.match(await ask(approved.step(1, signatures, { attempt: 2 })), { status: "done", result: { running: "6.2.31" } });
    t.match(await ask(approved.step(0, signatures, { attempt: 2 })), { status: "failed", error: { code: "replayed" } });
    t.same([world.startsOf("5.4.2"), world.startsOf("6.2.31")], [1, 1]);
  },
);

t.test("without enough of them it does nothing, and says why", REAL, async (t) => {
  const { world, file, approved, signatures, ask } = await realHost(t, maria.line);
  const first = approved.step(0, signatures);
  const { proof: _, ...unproven } = first;
  t.match(await ask(unproven), { status: "failed", retryable: false, error: { code: "approval-missing" } });
  t.match(await ask(first), { status: "failed", error: { code: "approval-unknown-signer" } });
  writeFileSync(file, SIGNERS);
  chmodSync(file, 0o666);
  t.match(await ask({ ...first, step: first.step.replace(/1$/, "2") }), { error: { code: "signers-invalid" } });
  t.notOk(existsSync(join(world.versionsDir, "6.2.31")), "nothing was fetched");
  t.match(await ask({ ...unproven, step: "run-1/s/host-1/0/1", op: { kind: "noop" } }), { status: "done" });
  chmodSync(file, 0o644);
  t.match(await ask({ ...first, step: first.step.replace(/1$/, "3") }), { status: "done", changed: true }, "read anew");
});
