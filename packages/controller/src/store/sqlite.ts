import { join } from "node:path";
import { BelayError } from "@belay/shared";
import Database from "better-sqlite3";
import { Kysely, SqliteDialect } from "kysely";
import { Committer } from "./committer.js";
import { migrate } from "./migrate.js";
import type { Schema } from "./schema.js";

/** An open database: `db` for reading, `commits` for writing. */
export interface Store {
  readonly db: Kysely<Schema>;
  readonly commits: Committer;
  /** Waits for pending writes, then closes. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens (and creates, and migrates) belayd's database in `dataDir`, and holds the folder for this process alone: a
 * second belayd on the same folder is refused with `store-in-use`. The hold ends with the process, however it ends.
 */
export function openSqlite(dataDir: string): Store {
  const lock = holdFolder(join(dataDir, "belayd.lock"));
  const raw = new Database(join(dataDir, "belay.db"));
  raw.pragma("journal_mode = WAL");
  // The library's default in WAL mode is NORMAL, which loses acknowledged commits in a power cut (I7, I14).
  raw.pragma("synchronous = FULL");
  raw.pragma("foreign_keys = ON");
  raw.pragma("busy_timeout = 5000");
  migrate(raw);
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: raw }) });
  const commits = new Committer(db);
  let closed: Promise<void> | null = null;
  return {
    db,
    commits,
    close() {
      closed ??= commits
        .idle()
        .then(() => db.destroy())
        .then(() => {
          lock.close();
        });
      return closed;
    },
  };
}

/** An exclusive SQLite transaction on a file of its own is a lock that the kernel drops with the process. */
function holdFolder(path: string): Database.Database {
  const lock = new Database(path, { timeout: 0 });
  try {
    lock.pragma("journal_mode = DELETE");
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock.close();
    throw new BelayError("store-in-use", `another belayd uses ${path}`, {
      hint: "Stop it first, or give this one a dataDir of its own.",
      cause,
    });
  }
}
