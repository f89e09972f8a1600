import { appendFile, copyFile, cp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { logInFolder } from "@belay/controller/audit/files";
import { verifyLog } from "@belay/controller/audit/verify";
import { isConsistent, isSignedBy, readCheckpoint, readVerifier } from "@belay/shared";
import t from "tap";
import { entry, fill, folder, openLog } from "./scene.js";

const noWitness = { key: null, witnesses: [] };

t.test("a log begins with itself, and its key is its owner's alone", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  t.equal(log.size, 1);
  t.match(await log.entry(0), { action: "log-begun", about: { log: log.origin } });
  t.equal((await stat(join(dir, "audit.key"))).mode & 0o777, 0o600);
  await log.close();
  t.same((await readdir(join(dir, "audit"))).sort(), ["checkpoint", "key", "pending", "tile"]);
  const verdict = await verifyLog(await logInFolder(join(dir, "audit")), noWitness);
  t.match(verdict, { size: 1, pending: 0, findings: [] });
});

t.test(
  "entries are there after a restart, under the same name, and every checkpoint continues the one before",
  async (t) => {
    const dir = await folder(t);
    const notes: string[] = [];
    let origin = "";
    for (const count of [1, 5, 250, 1, 0, 600]) {
      const log = await openLog(dir);
      origin ||= log.origin;
      t.equal(log.origin, origin);
      log.watch((newest) => notes.push(newest.note));
      await fill(log, count);
      await log.close();
      t.match(await verifyLog(await logInFolder(join(dir, "audit")), noWitness), { size: log.size, findings: [] });
    }
    const log = await openLog(dir);
    t.equal(log.size, 858);
    const seqs: number[] = [];
    for await (const one of log.backwards(600)) seqs.push(one.seq);
    t.same(
      seqs,
      Array.from({ length: 600 }, (_, index) => 599 - index),
    );
    const key = readVerifier((await readFile(join(dir, "audit", "key"), "utf8")).trim());
    for (const note of notes) {
      const older = readCheckpoint(note);
      t.ok(isSignedBy(older, key));
      const { newest, proof } = await log.proofFrom(older.checkpoint.size);
      t.ok(isConsistent(older.checkpoint, newest.checkpoint, proof), `from ${older.checkpoint.size}`);
    }
    await log.close();
  },
);

t.test("every size has a proof to the newest, across tiles of all levels", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  const states = [log.newest.checkpoint];
  for (const size of [2, 3, 255, 256, 257, 300, 511, 512, 513, 700]) {
    await fill(log, size - log.size);
    await log.publish();
    states.push(log.newest.checkpoint);
  }
  for (const older of states) {
    const { newest, proof } = await log.proofFrom(older.size);
    t.ok(isConsistent(older, newest.checkpoint, proof), `${older.size}`);
  }
  await t.rejects(log.proofFrom(701), { code: "audit-behind" });
  await log.close();
});

t.test("what is pending is acknowledged, and gets into the log after a crash", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  await fill(log, 300);
  // The disk as a crash would leave it: nothing of this was put under a checkpoint.
  await cp(join(dir, "audit"), join(dir, "crashed", "audit"), { recursive: true });
  await copyFile(join(dir, "audit.key"), join(dir, "crashed", "audit.key"));
  t.match(await verifyLog(await logInFolder(join(dir, "crashed", "audit")), noWitness), {
    size: 1,
    pending: 300,
    findings: [],
  });
  await log.close();
  const again = await openLog(join(dir, "crashed"));
  t.equal(again.size, 301);
  t.equal(again.newest.note, log.newest.note, "the same checkpoint, to the byte");
  await again.close();
});

t.test("a torn end was promised to nobody; damage before it is refused", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  for (let number = 0; number < 3; number += 1) await log.append(entry(number));
  const pending = join(dir, "audit", "pending");
  const bytes = await readFile(pending);
  const start = async (content: Buffer) => {
    const copy = await folder(t);
    await cp(join(dir, "audit"), join(copy, "audit"), { recursive: true });
    await copyFile(join(dir, "audit.key"), join(copy, "audit.key"));
    await writeFile(join(copy, "audit", "pending"), content);
    return openLog(copy);
  };
  for (const lost of [1, 40, 200]) {
    const torn = await start(bytes.subarray(0, bytes.length - lost));
    t.equal(torn.size, 3, `${lost} bytes of the last line are gone`);
    await torn.append(entry(9));
    await torn.close();
  }
  const bent = Buffer.from(bytes);
  bent[30] = (bent[30] ?? 0) ^ 1;
  await t.rejects(start(bent), { code: "audit-damaged" });
  const lines = bytes.toString("utf8").split("\n");
  await t.rejects(
    start(Buffer.from(lines.slice(1).join("\n"))),
    { code: "audit-damaged" },
    "the first line is missing",
  );
  await log.close();
});

t.test("a log that is not what its checkpoint says is not gone on with", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  await fill(log, 20);
  await log.close();
  const tile = join(dir, "audit", "tile/0/000.p/21");
  const bytes = await readFile(tile);
  await truncate(tile, 20 * 32);
  await t.rejects(openLog(dir), { code: "audit-damaged" });
  await rm(tile);
  await t.rejects(openLog(dir), { code: "audit-damaged", message: /tile\/0\/000.p\/21 is missing/ });
  await writeFile(tile, bytes);
  await rm(join(dir, "audit.key"));
  await t.rejects(openLog(dir), { code: "audit-key-missing" });
  await writeFile(join(dir, "audit.key"), "no key");
  await t.rejects(openLog(dir), { code: "audit-key-invalid" });
});

t.test("a key of somebody else does not take a log over", async (t) => {
  const dir = await folder(t);
  await (await openLog(dir)).close();
  const other = await folder(t);
  await (await openLog(other)).close();
  await copyFile(join(other, "audit.key"), join(dir, "audit.key"));
  await t.rejects(openLog(dir), { code: "audit-damaged", message: /not signed by the key/ });
});

t.test("a changed key is vouched for by the one before", async (t) => {
  const dir = await folder(t);
  const first = await openLog(dir);
  await first.close();
  const before = readVerifier((await readFile(join(dir, "audit", "key"), "utf8")).trim());
  await copyFile(join(dir, "audit.key"), join(dir, "audit.key.old"));
  await rm(join(dir, "audit.key"));
  const log = await openLog(dir);
  const now = readVerifier((await readFile(join(dir, "audit", "key"), "utf8")).trim());
  t.not(now.hash.toString("hex"), before.hash.toString("hex"));
  const { newest } = log;
  t.ok(isSignedBy(newest, before) && isSignedBy(newest, now));
  t.same(readVerifier(newest.checkpoint.nextKey ?? ""), now, "in what the old key signed");
  await log.append(entry(1));
  await log.close();
  await rm(join(dir, "audit.key.old"));
  const later = await openLog(dir);
  await later.append(entry(2));
  await later.close();
  t.notOk(isSignedBy(later.newest, before));
  t.match(await verifyLog(await logInFolder(join(dir, "audit")), { key: now, witnesses: [newest] }), {
    findings: [],
    witnessed: 1,
  });
});

t.test("an unfinished tile can be had for a while after it has grown", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  await fill(log, 4);
  await log.publish();
  const [hashes, entries] = [await log.file("tile/0/000.p/5"), await log.file("tile/entries/000.p/5")];
  for (let round = 0; round < 6; round += 1) {
    await fill(log, 60);
    await log.publish();
  }
  t.notOk((await readdir(join(dir, "audit/tile/0"))).includes("000.p"), "it is full");
  t.same(await log.file("tile/0/000.p/5"), hashes);
  t.same(await log.file("tile/entries/000.p/5"), entries);
  for (const path of [
    "tile/0/000.p/0",
    "tile/0/009",
    "pending",
    "../audit.key",
    "tile/0/x001/000",
    "tile/0/001.p/255",
  ]) {
    t.equal(await log.file(path), null, path);
  }
  await log.close();
});

t.test("what is no entry is refused, alone", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  const long = { ...entry(1), about: { reason: "x".repeat(3_000) } };
  const results = await Promise.allSettled([log.append(entry(0)), log.append(long), log.append(entry(2))]);
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  t.equal(log.size, 3);
  await log.close();
  await t.rejects(log.append(entry(3)), { code: "shutting-down" });
  await appendFile(join(dir, "audit", "pending"), "junk");
  const again = await openLog(dir);
  t.equal(again.size, 3);
  await again.close();
});
