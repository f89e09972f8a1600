import Database from "better-sqlite3";
import t from "tap";
import { processesOf } from "../support/fleet-on-disk/index.js";
import { isAtFailure, PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test("a migration that fails loses nothing that auth had written", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "auth-2": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "6.0.0", behaviour: "migration-fails", onlyRoles: ["auth"] }, { version: "6.1.0" }],
  });
  const { backend } = scene.host("auth-1");
  if (backend === null) throw new TypeError("auth has a backend");
  const run = await scene.start("6.0.0");
  await scene.leadToGate(run, "hop-1.main.auth");
  const written = new Map<number, number>();
  await scene.api.approve(run, "hop-1.main.auth");
  const failed = await scene.see(run, "a failure gate", (view) => {
    for (const { seq, at } of auditOf(backend)) written.set(seq, at);
    return isAtFailure(view);
  });

  t.match(failed.gate?.cause, { code: "auth-failed", context: { host: "auth-1", error: "service-crashed" } });
  t.match(
    failed.stages.filter(({ id }) => id.endsWith(".node")),
    [{ status: "pending" }],
    "no node was touched",
  );
  t.equal(await refusalOf(scene.api.command(run, "skip")), "host-needed", "nobody may go on without this auth");
  await scene.runs(t, { "auth-1": "5.4.2", "node-1": "5.4.2" });
  t.same(await scene.lives("auth-1"), ["5.4.2", "6.0.0", "5.4.2"]);
  t.same(await processesOf([scene.host("auth-2")]), [], "the other auth is down, as this stage asks for (I5)");
  const kept = new Map(auditOf(backend).map(({ seq, at }) => [seq, at]));
  t.ok(written.size > 0, `${written.size} events were seen before`);
  t.same(
    [...written].filter(([seq, at]) => kept.get(seq) !== at),
    [],
    "every event is there still, after the restore",
  );
  t.same(
    stateOf(backend),
    { version: "5.4.2", corrupted: null, formats: [5] },
    "the backend is the old one, and whole",
  );
});

interface AuditRow {
  readonly seq: number;
  readonly at: number;
}

/** What auth has written so far; nothing while the file is being replaced. */
function auditOf(file: string): AuditRow[] {
  try {
    return reading(file, (db) => db.prepare("SELECT seq, at FROM audit").all() as AuditRow[]);
  } catch (error) {
    if (String((error as { code?: string }).code).startsWith("SQLITE_")) return [];
    throw error;
  }
}

function stateOf(file: string): { version: string | null; corrupted: string | null; formats: number[] } {
  return reading(file, (db) => {
    const meta = new Map(
      (db.prepare("SELECT key, value FROM meta").all() as { key: string; value: string }[]).map(({ key, value }) => [
        key,
        value,
      ]),
    );
    const formats = db.prepare("SELECT DISTINCT format FROM resources").pluck().all() as number[];
    return { version: meta.get("version") ?? null, corrupted: meta.get("corrupted") ?? null, formats };
  });
}

function reading<T>(file: string, read: (db: Database.Database) => T): T {
  const db = new Database(file, { readonly: true });
  try {
    return read(db);
  } finally {
    db.close();
  }
}
