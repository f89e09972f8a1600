import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { Copies } from "@belay/controller/copies/copies";
import { FolderStore } from "@belay/controller/copies/folder";
import { copiesToDrop, type Keepable } from "@belay/controller/copies/keep";
import { Keeping } from "@belay/controller/copies/keeping";
import { CopyRecords } from "@belay/controller/store/copies";
import { RecordStore } from "@belay/controller/store/records";
import { openSqlite, type Store } from "@belay/controller/store/sqlite";
import fc from "fast-check";
import { pino } from "pino";
import t, { type Test } from "tap";

const DAY_MS = 86_400_000;

interface Scene {
  readonly dir: string;
  readonly store: Store;
  readonly copies: Copies;
  readonly records: CopyRecords;
  now: number;
}

async function open(t: Test): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), "belay-copies-"));
  const store = openSqlite(dir);
  const records = new CopyRecords(store);
  const files = new FolderStore(join(dir, "backups"), 0);
  await files.sweep();
  const copies = new Copies({ store: files, records, maxBytes: 1000, now: () => scene.now });
  const scene: Scene = { dir, store, copies, records, now: 1 };
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  return scene;
}

const bytes = (content: string) => Readable.from([Buffer.from(content)], { objectMode: false });
const digest = (content: string) => createHash("sha256").update(content).digest("hex");
const files = async ({ dir }: Scene, host: string) => (await readdir(join(dir, "backups", host))).sort();

t.test("I14: a copy is on record only when it is whole; what a crash left is written over", async (t) => {
  const scene = await open(t);
  async function* cut(): AsyncGenerator<Buffer> {
    yield Buffer.from("half of a backup, and then ");
    throw new Error("the line broke");
  }
  await t.rejects(scene.copies.put("auth-1", "b", Readable.from(cut(), { objectMode: false })), /line broke/);
  t.same([await scene.records.all(), await files(scene, "auth-1")], [[], []]);
  // Stored, and belayd died before it was on record: the next try takes the same name.
  await writeFile(join(scene.dir, "backups", "auth-1", "b.tar"), "an orphan");
  t.same(await scene.copies.put("auth-1", "b", bytes("whole")), { sha256: digest("whole"), bytes: 5 });
  t.same(await files(scene, "auth-1"), ["b.tar"]);
  t.equal(await text((await scene.copies.open("auth-1", "b")).body), "whole");
});

t.test("what is on record is never overwritten, and the same bytes are kept once", async (t) => {
  const scene = await open(t);
  for (const content of ["one", "two", "one"]) {
    scene.now += 1;
    await scene.copies.put("auth-1", "b", bytes(content));
  }
  t.same(await files(scene, "auth-1"), ["b.2.tar", "b.tar"]);
  t.equal(await text((await scene.copies.open("auth-1", "b")).body), "two", "the newest, unless another is asked for");
  t.equal(await text((await scene.copies.open("auth-1", "b", digest("one"))).body), "one");
});

t.test("two that come in at once don't meet", async (t) => {
  const scene = await open(t);
  await Promise.all(["a", "b", "c"].map((content) => scene.copies.put("auth-1", "b", bytes(content.repeat(300)))));
  for (const content of ["a", "b", "c"]) {
    const whole = content.repeat(300);
    t.equal(await text((await scene.copies.open("auth-1", "b", digest(whole))).body), whole);
  }
});

t.test("reading a copy back finds damage and loss", async (t) => {
  const scene = await open(t);
  await scene.copies.put("auth-1", "b", bytes("whole"));
  scene.now = 77;
  t.match(await scene.copies.verify("auth-1", "b"), { verifiedAt: 77 });
  t.match(await scene.records.all(), [{ verifiedAt: 77 }]);
  await writeFile(join(scene.dir, "backups", "auth-1", "b.tar"), "whale");
  await t.rejects(scene.copies.verify("auth-1", "b"), { code: "copy-damaged" });
  await rm(join(scene.dir, "backups", "auth-1", "b.tar"));
  await t.rejects(scene.copies.verify("auth-1", "b"), { code: "copy-lost" });
  await t.rejects(scene.copies.verify("auth-1", "c"), { code: "copy-unknown" });
});

t.test("policy lets go of old copies, and of none that may be needed", async (t) => {
  const scene = await open(t);
  const lines: string[] = [];
  for (const [index, backup] of ["run-1.hop-1.auth-1", "run-2.hop-1.auth-1", "run-3.hop-1.auth-1"].entries()) {
    scene.now = (index + 1) * DAY_MS;
    const { sha256 } = await scene.copies.put("auth-1", backup, bytes(backup));
    await scene.records.verified("auth-1", backup, sha256, scene.now);
  }
  const keeping = (keep: number, maxAgeMs: number | null, needed: string | null) =>
    new Keeping({
      copies: scene.copies,
      copyRecords: scene.records,
      records: new RecordStore(scene.store),
      policy: async () => ({ keep, maxAgeMs, copy: "belayd", recipients: [] }),
      needed:
        async () =>
        ({ backup }) =>
          backup === needed,
      now: () => scene.now,
      log: pino({}, { write: (line) => lines.push(line) }),
    });
  await keeping(2, null, "run-1.hop-1.auth-1").tidy();
  t.equal((await files(scene, "auth-1")).length, 3, "one too many, but needed");
  await keeping(2, null, null).tidy();
  t.same(await files(scene, "auth-1"), ["run-2.hop-1.auth-1.tar", "run-3.hop-1.auth-1.tar"]);
  scene.now = 900 * DAY_MS;
  await keeping(2, 30 * DAY_MS, null).tidy();
  t.same(await files(scene, "auth-1"), ["run-3.hop-1.auth-1.tar"], "the newest stays, however old");
  t.same(
    (await scene.records.all()).map(({ backup }) => backup),
    ["run-3.hop-1.auth-1"],
  );
  t.equal(lines.filter((line) => line.includes("kept no longer")).length, 2);
});

t.test("whatever there is, the newest whole copy of a host and what is needed stay", async () => {
  const copy: fc.Arbitrary<Keepable> = fc.record({
    host: fc.constantFrom("a", "b"),
    backup: fc.constantFrom("1", "2", "3", "4", "5"),
    takenAt: fc.integer({ min: 0, max: 50 }),
    at: fc.integer({ min: 0, max: 50 }),
    verifiedAt: fc.constantFrom(null, 1),
  });
  const policy = fc.record({ keep: fc.integer({ min: 1, max: 4 }), maxAgeMs: fc.constantFrom(null, 0, 10) });
  const check = (copies: readonly Keepable[], { keep, maxAgeMs }: { keep: number; maxAgeMs: number | null }) => {
    const needed = (one: Keepable) => one.backup === "5";
    const dropped = new Set(copiesToDrop(copies, { keep, maxAgeMs }, needed, 60));
    for (const host of ["a", "b"]) {
      const own = copies.filter((one) => one.host === host);
      const good = own.filter(({ verifiedAt }) => verifiedAt !== null);
      const newest = Math.max(...good.map(({ takenAt }) => takenAt));
      if (good.length > 0 && !good.some((one) => one.takenAt === newest && !dropped.has(one))) return false;
      if (own.some((one) => needed(one) && dropped.has(one))) return false;
      const left = new Set(own.filter((one) => !dropped.has(one) && !needed(one)).map(({ backup }) => backup));
      if (left.size > keep + 1) return false;
    }
    return true;
  };
  fc.assert(fc.property(fc.array(copy, { maxLength: 20 }), policy, check), { numRuns: 2000 });
});
