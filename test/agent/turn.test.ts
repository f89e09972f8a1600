import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Journal, systemClock } from "@belay/agent";
import { MAX_FENCE, type Op, type Step } from "@belay/shared";
import t, { type Test } from "tap";
import { ApprovedPlan, newApprover } from "../support/approved.js";
import { MemoryDisk } from "./support/memory-disk.js";
import { World } from "./support/world.js";

const REAL = { timeout: 120_000 };
const HOUR_MS = 3_600_000;
const maria = newApprover("maria");
const stop: Op = { kind: "stop", service: "svc", timeoutMs: 1000 };

/** A host that believes one approver, with a journal in memory and a wall clock of its own. */
async function host(t: Test, more = "") {
  const world = await World.make(t);
  const signers = join(world.dir, "approvers");
  writeFileSync(signers, `${maria.line}\n`, { mode: 0o644 });
  world.more = `approve: { by: approvers, fleet: acme, signers: ${signers} }\n${more}`;
  const ahead = { ms: 0 };
  const clock = { ...systemClock, now: () => Date.now() + ahead.ms };
  const disk = new MemoryDisk();
  const start = () => world.start({ clock, journalDisk: disk });
  const tell = (step: Step) => world.controller.socket?.send(JSON.stringify(step));
  return { world, signers, ahead, disk, start, tell };
}

/** A journal as an agent leaves it that is killed right after it accepted this. */
async function accept(disk: MemoryDisk, step: Step, seq?: number, root = ""): Promise<void> {
  const journal = await Journal.open(disk, { id: () => "0f0f0f0f", now: 1 });
  const { op, fence, check, proof, deadlineMs } = step;
  const approved = seq === undefined ? undefined : { run: "run-1", root, seq, until: Date.now() + 90 * 24 * HOUR_MS };
  const intent = { step: step.step, op, fence, check, deadlineMs, at: Date.now() };
  await journal.accept(approved === undefined || proof === undefined ? intent : { ...intent, approved, proof });
  await journal.close();
}

t.test("an approval counts when a step's turn has come, not only when it was accepted", REAL, async (t) => {
  for (const [why, code, change] of [
    ["still good", null, () => {}],
    [
      "expired meanwhile",
      "approval-expired",
      ({ ahead }) => {
        ahead.ms = 2 * HOUR_MS;
      },
    ],
    [
      "its key taken out",
      "approval-unknown-signer",
      ({ signers }) => writeFileSync(signers, `${newApprover("tom").line}\n`),
    ],
  ] as [string, string | null, (host: { ahead: { ms: number }; signers: string }) => void][]) {
    const { world, disk, start, ahead, signers } = await host(t);
    const fetched = await world.release("6.2.31");
    const plan = new ApprovedPlan("run-1", [{ host: "host-1", op: fetched }]);
    const step = plan.step(0, [plan.sign(maria)]);
    await accept(disk, step, 0, plan.tree.root.toString("hex"));
    change({ ahead, signers });
    await start();
    const { outcome } = await world.controller.outcome(step.step);
    if (code === null) t.match(outcome, { status: "done", changed: true }, why);
    else t.match(outcome, { status: "failed", error: { code } }, why);
    t.equal(existsSync(join(world.versionsDir, "6.2.31")), code === null, why);
  }
});

t.test("what waited while belayd was believed is not done when it is no more", REAL, async (t) => {
  const { world, disk, start } = await host(t);
  const step: Step = { type: "step", step: "r/s/h/0/1", fence: 1, check: false, deadlineMs: 60_000, op: stop };
  await accept(disk, step);
  await start();
  const { outcome } = await world.controller.outcome(step.step);
  t.match(outcome, { status: "failed", error: { code: "approval-missing" } });
});

t.test("a window that closes before a step's turn comes is closed for it", REAL, async (t) => {
  const { world, ahead, start } = await host(t);
  const day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][new Date().getUTCDay()];
  const next = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][(new Date().getUTCDay() + 1) % 7];
  world.more = `limits: { hours: { zone: UTC, windows: ["${day} 00:00-24:00", "${next} 00:00-24:00"] } }`;
  await start();
  await world.controller.connected();
  const probe = { ...world.probe(), version: [] };
  const waits: Op = { kind: "health", probe, expect: null, settleMs: 1, timeoutMs: 1500 };
  world.controller.send(waits, { step: "r/s/h/0/1" });
  world.controller.send(stop, { step: "r/s/h/1/1" });
  await world.controller.until(() => world.controller.all("accepted").length === 2);
  ahead.ms = 3 * 24 * HOUR_MS;
  t.match((await world.controller.outcome("r/s/h/1/1")).outcome, {
    status: "failed",
    error: { code: "hours-refused" },
  });
});

t.test("looks that nobody approved hold no approved step up, and leave nothing on the disk", REAL, async (t) => {
  const { world, disk, start, tell } = await host(t);
  const fetched = await world.release("6.2.31");
  const plan = new ApprovedPlan("run-1", [{ host: "host-1", op: fetched }]);
  await start();
  await world.controller.connected();
  const before = disk.bytes.length;
  const probe = { ...world.probe(), version: [] };
  const waits: Op = { kind: "health", probe, expect: null, settleMs: 1, timeoutMs: 40_000 };
  world.controller.ack = false;
  world.controller.send(waits, { step: "r/s/h/wait/1" });
  for (let n = 0; n < 100; n += 1) t.match(await world.controller.step({ kind: "facts", probe }), { status: "done" });
  t.equal(disk.bytes.length, before, "no byte was written");
  const again = world.controller.told.length;
  world.controller.send({ kind: "facts", probe }, { step: "run/stage/host/100" });
  await world.controller.outcome("run/stage/host/100", again);
  world.controller.send({ kind: "noop" }, { step: "r/s/h/high/1", fence: MAX_FENCE });
  await world.controller.outcome("r/s/h/high/1");
  const step = plan.step(0, [plan.sign(maria)]);
  tell(step);
  t.match((await world.controller.outcome(step.step)).outcome, { status: "done" });
  t.notOk(
    world.controller.all("outcome").some((each) => each.step === "r/s/h/wait/1"),
    "which still waits",
  );
});
