import { createHash } from "node:crypto";
import { join } from "node:path";
import type { AuditEntry, NewEntry } from "@belay/controller/audit/entry";
import type { AuditLog } from "@belay/controller/audit/log";
import { AuditedRuns } from "@belay/controller/audit/runs";
import type { RunEvent } from "@belay/controller/run/event";
import { PlanStore } from "@belay/controller/store/plans";
import { openSqlite } from "@belay/controller/store/sqlite";
import { canonicalJson } from "@belay/shared";
import Database from "better-sqlite3";
import t, { type Test } from "tap";
import { noopPlan } from "../execute/scene.js";
import { folder, openLog } from "./scene.js";

const RUN = "20261124-101500-ab12cd34ef";
const plan = noopPlan(["node-1"]);
const STARTED = { type: "run-started", at: 1_000, run: RUN, plan: plan.id, check: false, by: "mia", fence: 1 } as const;
const STEP = {
  type: "step-intended",
  at: 2_000,
  step: `${RUN}/s/node-1/0/1`,
  stage: "s",
  batch: 0,
  host: "node-1",
  index: 0,
  op: "noop",
  attempt: 1,
  deadlineAt: 9_000,
} as const;
const DECIDED = {
  type: "gate-decided",
  at: 3_000,
  gate: "hop-1.main.auth",
  decision: "approve",
  by: "ann",
  groups: ["sre"],
  reason: "looks good",
} as const;
const ENDED = { type: "run-ended", at: 4_000, result: "done", reason: "" } as const;

async function scene(t: Test) {
  const dir = await folder(t);
  const store = openSqlite(dir);
  await new PlanStore(store).save(plan, "mia", 1);
  const audit = await openLog(dir, { now: () => 5_000 });
  t.teardown(async () => {
    await audit.close();
    await store.close();
  });
  return { dir, store, audit, runs: new AuditedRuns(store, audit) };
}

async function entriesOf(audit: AuditLog): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for await (const entry of audit.backwards()) if (entry.about.run === RUN) entries.unshift(entry);
  return entries;
}

/** As docs/audit.md tells people to make it themselves. */
function digestOf(events: readonly RunEvent[]): string {
  return events.reduce(
    (digest, event) =>
      createHash("sha256")
        .update(digest + canonicalJson(event))
        .digest("hex"),
    "",
  );
}

t.test("what a run starts, decides and ends is on record, each with the digest of the run's log so far", async (t) => {
  const { audit, runs } = await scene(t);
  await runs.create(RUN, plan, STARTED);
  await runs.append(RUN, 1, [STEP], []);
  await runs.append(RUN, 2, [DECIDED], []);
  await runs.append(RUN, 3, [ENDED], []);
  const events: RunEvent[] = [STARTED, STEP, DECIDED, ENDED];
  t.match(await entriesOf(audit), [
    { action: "run-started", who: { name: "mia" }, after: { events: 1, digest: digestOf(events.slice(0, 1)) } },
    {
      action: "gate-decided",
      who: { name: "ann" },
      about: { gate: "hop-1.main.auth", decision: "approve", groups: ["sre"], reason: "looks good" },
      after: { events: 3, digest: digestOf(events.slice(0, 3)) },
    },
    { action: "run-ended", who: { name: "belayd" }, after: { events: 4, digest: digestOf(events) } },
  ]);
});

t.test("what can't be put on record is not gone on with, and is caught up on", async (t) => {
  const { store, audit } = await scene(t);
  let full = true;
  const choosy: Pick<AuditLog, "append" | "backwards"> = {
    append: async (entry: NewEntry) => {
      if (full) throw new Error("no space left");
      await audit.append(entry);
    },
    backwards: (before) => audit.backwards(before),
  };
  const runs = new AuditedRuns(store, choosy);
  await t.rejects(runs.create(RUN, plan, STARTED), /no space left/);
  await t.rejects(runs.read(RUN, 0, 10), /no space left/, "whoever reads it back goes on from it");
  await t.rejects(runs.append(RUN, 1, [DECIDED], []), /no space left/, "nor is anything added");
  full = false;
  t.equal((await runs.read(RUN, 0, 10)).length, 1);
  await runs.append(RUN, 1, [DECIDED], []);
  t.same(
    (await entriesOf(audit)).map(({ action }) => action),
    ["run-started", "gate-decided"],
  );
});

t.test("I14: what a crash kept from the audit log is added when the run is taken up", async (t) => {
  const { store, audit, runs } = await scene(t);
  await runs.create(RUN, plan, STARTED);
  // On the run's record, and then the power was gone.
  const deaf = new AuditedRuns(store, { append: async () => {}, backwards: (before) => audit.backwards(before) });
  await deaf.append(RUN, 1, [STEP, DECIDED], []);
  const after = new AuditedRuns(store, audit);
  await after.vouch(RUN);
  t.match(await entriesOf(audit), [{ action: "run-started" }, { action: "gate-decided", after: { events: 3 } }]);
  await new AuditedRuns(store, audit).vouch(RUN);
  t.equal((await entriesOf(audit)).length, 2, "once");
  await after.append(RUN, 3, [ENDED], []);
  t.equal((await entriesOf(audit)).length, 3);
});

t.test("a run whose record was rewritten, or ends too early, is not gone on with", async (t) => {
  const { dir, store, audit, runs } = await scene(t);
  await runs.create(RUN, plan, STARTED);
  await runs.append(RUN, 1, [STEP, DECIDED], []);
  const db = new Database(join(dir, "belay.db"));
  t.teardown(() => db.close());
  const vouched = () => new AuditedRuns(store, audit).vouch(RUN);
  await t.resolves(vouched());
  const forged = JSON.stringify({ ...STEP, host: "node-2" });
  db.prepare("UPDATE events SET body = ? WHERE run_id = ? AND seq = 2").run(forged, RUN);
  await t.rejects(vouched(), { code: "run-log-changed", message: /event 3, or one before it/ });
  db.prepare("UPDATE events SET body = ? WHERE run_id = ? AND seq = 2").run(JSON.stringify(STEP), RUN);
  await t.resolves(vouched());
  db.prepare("DELETE FROM events WHERE run_id = ? AND seq = 3").run(RUN);
  await t.rejects(vouched(), { code: "run-log-changed", message: /ends after 2 events, and had 3/ });
});
