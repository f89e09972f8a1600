import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { first } from "@belay/controller/store/migrations/0001-first";
import { RecordStore } from "@belay/controller/store/records";
import { openSqlite } from "@belay/controller/store/sqlite";
import Database from "better-sqlite3";
import t, { type Test } from "tap";

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "belay-migrate-"));
  t.teardown(() => rm(dir, { recursive: true }));
  return dir;
}

/** A database as the first schema left it, with a backup in it. */
function makeOld(dir: string, schema: number): void {
  const db = new Database(join(dir, "belay.db"));
  db.exec("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  db.exec(first);
  db.prepare("INSERT INTO meta VALUES ('schema', ?)").run(String(schema));
  db.prepare(
    "INSERT INTO backups VALUES ('auth-1', 'run.hop-1.auth-1', 'run', 'hop-1', '/b', 'aa', 7, 1, 5, '5.4.2', NULL)",
  ).run();
  db.close();
}

t.test("I14: a database of the first schema is brought on, and loses no backup", async (t) => {
  const dir = await folder(t);
  makeOld(dir, 1);
  for (const opened of ["first", "again"]) {
    const store = openSqlite(dir);
    const backups = await new RecordStore(store).backups({});
    t.match(backups, [{ host: "auth-1", backup: "run.hop-1.auth-1", bytes: 7, copies: [] }], opened);
    await store.close();
  }
});

t.test("a database that a newer belayd has used is refused, and left as it is", async (t) => {
  const dir = await folder(t);
  makeOld(dir, 99);
  t.throws(() => openSqlite(dir), { code: "store-newer" });
  const db = new Database(join(dir, "belay.db"));
  t.same(db.prepare("SELECT value FROM meta").all(), [{ value: "99" }]);
  db.close();
});
