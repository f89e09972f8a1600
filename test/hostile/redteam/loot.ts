import { join } from "node:path";
import type { FactProbe, Op, SignedStatement, Step } from "@belay/shared";
import { ApprovedPlan, newApprover, type PlannedStep } from "../../support/approved.js";

const HOUR_MS = 3_600_000;
/** Approvers of the host: maria has two keys. Eve is nobody. */
const [maria, tom, eve] = [newApprover("maria"), newApprover("tom"), newApprover("eve")];
const mariasOther = { ...newApprover("maria"), name: "maria" };
export const SIGNERS = [maria, tom, mariasOther].map(({ line }) => line);

const STAGES = ["hop-1.main.fetch", "hop-1.main.backup", "hop-1.main.node"];

export const HARMLESS_STEPS = 50;

/** One plan that was approved, or nearly, and what is there to show for it. */
export interface Spoils {
  readonly plan: ApprovedPlan;
  /** Whose words these are does not matter to a thief: any may come with any step. */
  readonly approvals: readonly SignedStatement[];
}

/** Everything a thief of belayd has: all plans, all approvals that were ever given, and no approver's key. */
export interface Loot {
  /** Carried out already, approved by enough people. */
  readonly done: Spoils;
  readonly all: readonly Spoils[];
  /** Approved by enough people, not carried out yet, and without any effect: what it is turned into would have one. */
  readonly harmless: Spoils;
  readonly ops: readonly Op[];
}

export function probeOf(dir: string): FactProbe {
  const allowed = join(dir, "srv");
  return {
    service: "svc",
    versionsDir: join(allowed, "versions"),
    link: join(allowed, "current"),
    version: [{ kind: "http-json", url: "http://127.0.0.1:3000/version", pointer: "/v" }],
    checks: [{ kind: "process" }],
    disks: [allowed],
  };
}

/** Each kind of op, as it would be carried out on this host if people approved it. */
export function opsOf(dir: string): Op[] {
  const at = (path: string) => join(dir, "srv", path);
  const probe = probeOf(dir);
  const [versionsDir, link, sha256] = [at("versions"), at("current"), "ab".repeat(32)];
  const spec = {
    id: "b-1",
    dir: at("backups"),
    items: [{ kind: "file" as const, path: at("data/state"), optional: false }],
    version: null,
  };
  const swap: Op = {
    kind: "swap",
    service: "svc",
    versionsDir,
    link,
    from: "5.0.0",
    to: "6.0.0",
    sha256: null,
    how: "restart",
    version: probe.version,
    checks: [],
    settleMs: 1,
    startTimeoutMs: 1,
    stopTimeoutMs: 1,
    snapshot: null,
    revertTo: "running",
  };
  return [
    { kind: "backup", spec },
    swap,
    { ...swap, hookTimeoutMs: 1000, entry: { dir: at("bin"), programs: ["tool"], below: "" } },
    { kind: "stop", service: "svc", timeoutMs: 1 },
    {
      kind: "start",
      service: "svc",
      checks: [{ kind: "http", url: "http://127.0.0.1:1/", status: 200, timeoutMs: 1 }],
      settleMs: 1,
      timeoutMs: 1,
    },
    {
      kind: "fetch",
      version: "6.0.1",
      source: `/v1/artifacts/${sha256}`,
      sha256,
      size: 10,
      versionsDir,
      strip: 1,
      maxUnpackedBytes: 100,
    },
    { kind: "restore", id: "kept", dir: at("backups"), service: "svc" },
    { kind: "verify-backup", id: "kept", dir: at("backups"), copy: { sha256, bytes: 10, encrypted: false } },
    { kind: "verify-backup", id: "kept", dir: at("backups"), orCopy: { sha256, bytes: 10, encrypted: false } },
    { kind: "prune", versionsDir, link, keep: [], backupsDir: at("backups"), keepBackups: 1 },
    {
      kind: "upgrade-agent",
      versionsDir: at("agent/versions"),
      link: at("agent/current"),
      from: "0.1.0",
      to: "0.2.0",
      sha256: null,
      settleMs: 1,
      returnMs: 5000,
    },
    { kind: "verify-backup", id: "kept", dir: at("backups") },
    { kind: "facts", probe },
    { kind: "noop" },
    { kind: "preflight", probe, expect: null, needs: [], healthy: false },
    { kind: "health", probe, expect: null, settleMs: 1, timeoutMs: 1 },
  ];
}

export function lootOf(dir: string): Loot {
  const ops = opsOf(dir);
  const now = Date.now();
  const stepsOf = (host: string): PlannedStep[] =>
    ops.map((op, seq) => {
      const stage = STAGES[Math.min(seq, STAGES.length - 1)] ?? "";
      return { host, op, stage, gate: stage };
    });
  const both = [...stepsOf("host-1"), ...stepsOf("host-2")];
  const planned = (run: string, steps = both, more = {}) => new ApprovedPlan(run, steps, more);
  const gates = (plan: ApprovedPlan, more = {}, by = [maria, tom], namespace?: string) =>
    STAGES.flatMap((gate) => by.map((approver) => plan.sign(approver, { gate, ...more }, namespace)));
  const done = planned("run-0", [
    { host: "host-1", op: { kind: "stop", service: "svc", timeoutMs: 1 }, stage: STAGES[0] ?? "" },
  ]);
  const [short, late, late2, elsewhere, over] = ["run-1", "run-2", "run-3", "run-4", "run-5"].map((run) =>
    planned(run),
  );
  if (
    short === undefined ||
    late === undefined ||
    late2 === undefined ||
    elsewhere === undefined ||
    over === undefined
  ) {
    throw new RangeError("five plans");
  }
  const foreign = planned("run-6", both, { fleet: "staging" });
  const others = planned("run-7", stepsOf("host-2"));
  const wrong = planned("run-8");
  const strangers = planned("run-9");
  const twice = planned("run-10");
  const soon = planned("run-11");
  const other = new ApprovedPlan("run-1", [{ host: "host-1", op: { kind: "noop" } }]);
  const stage = STAGES[0] ?? "";
  const harmless = planned(
    "run-20",
    Array.from({ length: HARMLESS_STEPS }, () => ({ host: "host-1", op: { kind: "noop" as const }, stage })),
  );
  return {
    ops,
    harmless: { plan: harmless, approvals: [maria, tom].map((approver) => harmless.sign(approver)) },
    done: { plan: done, approvals: [maria, tom].map((approver) => done.sign(approver)) },
    all: [
      // One of two people, for every gate.
      { plan: short, approvals: gates(short, {}, [maria]) },
      // Enough people, but for the later gates alone.
      { plan: late, approvals: gates(late).slice(2) },
      { plan: late2, approvals: [...gates(late2, {}, [maria]), ...gates(late2).slice(4)] },
      // Enough people, for the same steps of another run.
      { plan: elsewhere, approvals: gates(elsewhere, { run: "run-40" }) },
      { plan: over, approvals: gates(over, { at: now, expires: now + 1 }) },
      // Older than this host's journal, which can't say what was done before.
      { plan: planned("run-12"), approvals: gates(planned("run-12"), { at: now - HOUR_MS, expires: now + HOUR_MS }) },
      { plan: foreign, approvals: gates(foreign) },
      { plan: others, approvals: gates(others) },
      { plan: wrong, approvals: gates(wrong, {}, [maria, tom], "file") },
      { plan: strangers, approvals: gates(strangers, {}, [maria, eve]) },
      { plan: twice, approvals: gates(twice, {}, [maria, mariasOther]) },
      { plan: soon, approvals: gates(soon, { at: now + 24 * HOUR_MS, expires: now + 48 * HOUR_MS }) },
      // The right run and gates, of a plan that does nothing.
      { plan: short, approvals: gates(other) },
    ],
  };
}

/** What enough people did approve: to show that this host would do it. */
export function approvedStep(run: string, op: Op): Step {
  const plan = new ApprovedPlan(run, [{ host: "host-1", op }]);
  return plan.step(0, [plan.sign(maria), plan.sign(tom)]);
}

const quiet: Op = { kind: "noop" };
const harmful: Op = { kind: "stop", service: "svc", timeoutMs: 1 };

/** What is carried out by right first, and what a thief then asks for, which the order of steps alone forbids. */
export interface Disorder {
  readonly name: string;
  readonly first: readonly Step[];
  readonly asked: Step;
}

export function disorders(): Disorder[] {
  const [early = "", , later = ""] = STAGES;
  const planned = (run: string, ...steps: [Op, string][]) =>
    new ApprovedPlan(
      run,
      steps.map(([op, stage]) => ({ host: "host-1", op, stage })),
    );
  const steps = (plan: ApprovedPlan) => {
    const words = [early, later].flatMap((gate) => [maria, tom].map((approver) => plan.sign(approver, { gate })));
    return plan.leaves.map(({ gate }, at) =>
      plan.step(
        at,
        words.filter(({ statement }) => statement.includes(`"gate":"${gate}"`)),
        { attempt: 7 },
      ),
    );
  };
  const third: [Op, string][] = [
    [quiet, early],
    [quiet, STAGES[1] ?? ""],
    [harmful, later],
  ];
  const [skipped = [], began = [], twice = [], left = []] = [
    planned("run-30", ...third),
    planned("run-31", ...third),
    planned("run-32", [harmful, early], [quiet, early]),
    planned("run-33", [quiet, early], [harmful, early]),
  ].map(steps);
  const [follows = quietStep("run-34")] = steps(planned("run-34", [quiet, early]));
  const again = (step: Step) => ({ ...step, step: step.step.replace(/7$/, "8") });
  const at = (all: readonly Step[], index: number) => all[index] ?? quietStep("none");
  return [
    { name: "a run's later step first", first: [], asked: at(skipped, 2) },
    { name: "a step whose gate is open, over one whose gate isn't", first: [at(began, 0)], asked: at(began, 2) },
    { name: "an earlier step again", first: [at(twice, 0), at(twice, 1)], asked: again(at(twice, 0)) },
    { name: "the last step again", first: [at(twice, 0)], asked: again(at(twice, 0)) },
    { name: "the rest of a run that another has followed", first: [at(left, 0), follows], asked: at(left, 1) },
    { name: "the same step, word for word", first: [at(twice, 0)], asked: at(twice, 0) },
  ];
}

function quietStep(run: string): Step {
  return approvedStep(run, quiet);
}
