import { BelayError } from "@belay/shared";
import type Database from "better-sqlite3";
import { first } from "./migrations/0001-first.js";
import { copies } from "./migrations/0002-copies.js";
import { people } from "./migrations/0003-people.js";
import { identity } from "./migrations/0004-identity.js";
import { pruned } from "./migrations/0005-pruned.js";

/** In order; a migration once released is never changed, only followed by another. */
const MIGRATIONS: readonly string[] = [first, copies, people, identity, pruned];

/**
 * Brings a database to this program's schema, each migration in a transaction of its own. Idempotent. Refuses a
 * database that a newer belayd has migrated (`store-newer`): an old program would misread it.
 */
export function migrate(db: Database.Database): void {
  db.exec("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  const row = db.prepare("SELECT value FROM meta WHERE key = 'schema'").get() as { value: string } | undefined;
  const applied = Number(row?.value ?? 0);
  if (applied > MIGRATIONS.length) {
    throw new BelayError(
      "store-newer",
      `the database has schema ${applied}; this belayd knows up to ${MIGRATIONS.length}`,
      { hint: "Run the belayd that last used it, or a newer one." },
    );
  }
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index < applied) continue;
    db.transaction(() => {
      db.exec(sql);
      db.prepare(
        "INSERT INTO meta (key, value) VALUES ('schema', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      ).run(String(index + 1));
    })();
  }
}
