import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal, openJournalDisk } from "@belay/agent";
import { done } from "@belay/shared";
import t from "tap";
import { MemoryDisk } from "./support/memory-disk.js";

const ID = "0f0f0f0f-0000-4000-8000-000000000001";
const open = (disk: MemoryDisk, keepAcked?: number) =>
  Journal.open(disk, { id: () => ID, now: 1, ...(keepAcked === undefined ? {} : { keepAcked }) });
const step = (n: number, fence = 1) => ({
  step: `r/s/h/${n}`,
  op: { kind: "noop" } as const,
  fence,
  check: false,
  deadlineMs: 1000,
  at: n,
});
const ended = { outcome: done(false), startedAt: 1, endedAt: 2 };

t.test("what was promised is there after reopening (I7, I14)", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  await journal.accept(step(1, 7));
  await journal.phase("r/s/h/1", "begun", { wasRunning: true }, 5);
  await journal.accept(step(2));
  await journal.end("r/s/h/2", ended);
  await journal.accept(step(3));
  await journal.end("r/s/h/3", ended);
  journal.ack("r/s/h/3");
  await journal.close();

  const again = await Journal.open(new MemoryDisk(disk.bytes), { id: () => "other", now: 9 });
  t.equal(again.id, ID, "its id is made once");
  t.equal(again.fence, 7, "the highest fence is remembered (I13)");
  t.match(again.open(), [{ step: "r/s/h/1", phases: [{ phase: "begun", data: { wasRunning: true } }] }]);
  t.same(
    again.undelivered().map((each) => each.step),
    ["r/s/h/2"],
  );
  t.match(again.entry("r/s/h/3"), { ended, acked: true });
});

t.test("a tail torn at any byte loses only what was torn", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  const sizes: number[] = [];
  for (let n = 1; n <= 4; n += 1) {
    await journal.accept(step(n));
    sizes.push(disk.bytes.length);
  }
  await journal.close();
  const first = sizes[0] ?? 0;
  for (let length = first; length <= disk.bytes.length; length += 1) {
    const torn = new MemoryDisk(disk.bytes.subarray(0, length));
    const whole = sizes.filter((size) => size <= length).length;
    const again = await open(torn);
    if (again.open().length !== whole) t.fail(`cut at ${length}: ${again.open().length} steps, not ${whole}`);
    // What follows a cut tail must be readable too.
    await again.accept(step(9));
    await again.close();
    if ((await open(new MemoryDisk(torn.bytes))).open().length !== whole + 1) t.fail(`cut at ${length}: append lost`);
  }
  t.pass(`${disk.bytes.length - first + 1} cuts`);
});

t.test("a last group with a hole in it, as a power cut leaves one, is torn, not corrupt", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  await journal.accept(step(1));
  const before = disk.bytes.length;
  await Promise.all([2, 3, 4].map((n) => journal.accept(step(n))));
  await journal.close();
  // Zeros over the middle of the group, its last line intact: pages reach the disk in any order.
  const bytes = Buffer.from(disk.bytes);
  bytes.fill(0, before + 20, before + 60);
  const again = await open(new MemoryDisk(bytes));
  t.same(
    again.open().map((each) => each.step),
    ["r/s/h/1"],
  );
});

t.test("damage to what had been promised is refused, naming the line", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  for (let n = 1; n <= 3; n += 1) await journal.accept(step(n));
  await journal.close();
  const bytes = Buffer.from(disk.bytes);
  const second = bytes.indexOf("r/s/h/1");
  bytes.write("X", second);
  await t.rejects(open(new MemoryDisk(bytes)), { code: "journal-corrupt", context: { line: 2 } });
});

t.test("records of one tick share one fsync; none is promised before it", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  const before = disk.syncs;
  await Promise.all(Array.from({ length: 100 }, (_, n) => journal.accept(step(n))));
  t.equal(disk.syncs - before, 1);
  t.equal(journal.open().length, 100);
  const accepted = journal.accept(step(200));
  t.equal(journal.entry("r/s/h/200"), undefined, "not there before it is on disk");
  await accepted;
  t.ok(journal.entry("r/s/h/200"));
});

t.test("a full disk refuses, is cut back, and works again when there is room", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  await journal.accept(step(1));
  const size = disk.bytes.length;
  disk.room = 10;
  await t.rejects(journal.accept(step(2)), { code: "ENOSPC" });
  t.equal(disk.bytes.length, size, "the part that was written is gone");
  t.equal(journal.entry("r/s/h/2"), undefined);
  disk.room = Number.POSITIVE_INFINITY;
  await journal.accept(step(3));
  const again = await open(new MemoryDisk(disk.bytes));
  t.same(
    again.open().map((each) => each.step),
    ["r/s/h/1", "r/s/h/3"],
  );
});

t.test("after a failed fsync nothing is ever promised again", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  disk.syncFails = true;
  await t.rejects(journal.accept(step(1)), { code: "journal-broken" });
  disk.syncFails = false;
  await t.rejects(journal.accept(step(2)), { code: "journal-broken" });
});

t.test("acked steps are forgotten, the oldest first, and nothing else", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk, 10);
  await journal.accept(step(0, 42));
  await journal.phase("r/s/h/0", "begun", {}, 1);
  await journal.accept(step(1));
  await journal.end("r/s/h/1", ended);
  for (let n = 2; n < 1002; n += 1) {
    await journal.accept(step(n));
    await journal.end(`r/s/h/${n}`, ended);
    journal.ack(`r/s/h/${n}`);
  }
  await journal.close();
  t.equal(disk.replaced, 1);
  const again = await open(new MemoryDisk(disk.bytes), 10_000);
  t.equal(again.id, ID);
  t.equal(again.fence, 42);
  t.match(again.open(), [{ step: "r/s/h/0", phases: [{ phase: "begun" }] }]);
  t.same(
    again.undelivered().map((each) => each.step),
    ["r/s/h/1"],
  );
  t.equal(again.entry("r/s/h/2"), undefined, "the oldest acked is gone");
  t.match(again.entry("r/s/h/1001"), { ended, acked: true }, "a late repeat can still be answered (I7)");
});

t.test("a compaction misses no record of the very group it follows", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk, 0);
  for (let n = 0; n < 600; n += 1) {
    await Promise.all([journal.accept(step(n)), journal.accept(step(n + 10_000))]);
    await journal.end(`r/s/h/${n}`, ended);
    journal.ack(`r/s/h/${n}`);
  }
  await journal.close();
  t.ok(disk.replaced > 0);
  const again = await open(new MemoryDisk(disk.bytes), 10_000);
  t.equal(again.open().length, 600);
  const damaged = Buffer.from(disk.bytes.subarray(0, disk.bytes.indexOf("\n", disk.bytes.length / 2) + 1));
  damaged.write("XX", damaged.indexOf("r/s/h/"));
  await t.rejects(
    open(new MemoryDisk(damaged)),
    { code: "journal-corrupt" },
    "all that a compaction wrote was promised",
  );
});

t.test("on a real disk: only the owner may read it, and a compaction leaves no other file", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "belay-journal-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "state", "journal");
  const make = { id: () => ID, now: 1, keepAcked: 2 };
  const journal = await Journal.open(await openJournalDisk(file), make);
  for (let n = 0; n < 510; n += 1) {
    await journal.accept(step(n));
    await journal.end(`r/s/h/${n}`, ended);
    journal.ack(`r/s/h/${n}`);
  }
  await journal.accept(step(1000));
  await journal.close();
  t.ok(readFileSync(file, "utf8").split("\n").length < 100, "it was compacted");
  t.same(readdirSync(join(dir, "state")), ["journal"]);
  t.equal(statSync(file).mode & 0o777, 0o600);
  const again = await Journal.open(await openJournalDisk(file), make);
  t.same(
    again.open().map((each) => each.step),
    ["r/s/h/1000"],
  );
  await again.close();
});

t.test("it is settled between writes, also after one that failed, and not while the disk hangs", async (t) => {
  const disk = new MemoryDisk();
  const journal = await open(disk);
  await journal.settled();
  disk.room = 0;
  await t.rejects(journal.accept(step(1)));
  await journal.settled();
  disk.room = Number.POSITIVE_INFINITY;
  let release = () => {};
  disk.sync = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  const written = journal.accept(step(2));
  let settled = false;
  // The write begins in the next tick.
  await null;
  await null;
  const settling = journal.settled().then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(settled, false);
  release();
  await Promise.all([written, settling]);
  t.equal(settled, true);
});
