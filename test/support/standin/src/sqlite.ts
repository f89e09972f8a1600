import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "better-sqlite3";
import type { Instance } from "./alive.js";
import { type Backend, Unavailable } from "./backend.js";
import { majorOf } from "./compat.js";
import { loadSqlite, type Release } from "./release.js";
import { type Admission, admit, beat, type Changes, firstResources, type Standing, type State } from "./rules.js";
import { GONE_AFTER_MS, ownerId, type Server } from "./servers.js";

/** How long one transaction waits for another process: longer means somebody copies the file under a lock. */
const BUSY_TIMEOUT_MS = 2_000;
const OPEN_AGAIN_MS = 20;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS instances (id TEXT PRIMARY KEY, name TEXT, version TEXT, host TEXT, pid INTEGER, birth TEXT, at INTEGER);
  CREATE TABLE IF NOT EXISTS servers (uuid TEXT PRIMARY KEY, name TEXT, roles TEXT, version TEXT, owner TEXT, instance TEXT);
  CREATE TABLE IF NOT EXISTS resources (name TEXT PRIMARY KEY, spec TEXT NOT NULL, format INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, instance TEXT, version TEXT);
`;

/** A real SQLite database in WAL mode. Decisions are made inside one immediate transaction. */
export class SqliteBackend implements Backend {
  readonly #db: Database;
  readonly #file: string;
  readonly #inode: number;
  readonly #me: Instance;

  private constructor(file: string, db: Database, me: Instance) {
    this.#file = file;
    this.#db = db;
    this.#inode = statSync(file).ino;
    this.#me = me;
  }

  /** Opens `sqlite.db` in this folder, or makes it. Throws Unavailable when it is locked for too long. */
  static async open(folder: string, me: Instance, release: Release): Promise<SqliteBackend> {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "sqlite.db");
    const db = new (loadSqlite(release))(file, { timeout: BUSY_TIMEOUT_MS });
    // Whoever turns a new database to WAL at the same moment as another is sent away at once, whatever the time-out.
    for (const deadline = Date.now() + BUSY_TIMEOUT_MS; ; await sleep(OPEN_AGAIN_MS)) {
      try {
        db.pragma("journal_mode = WAL");
        break;
      } catch (error) {
        if (!isBusy(error)) throw error;
        if (Date.now() > deadline) throw new Unavailable("SQLite is locked");
      }
    }
    db.pragma("synchronous = NORMAL");
    return new SqliteBackend(file, db, me);
  }

  async admit(): Promise<Admission> {
    return this.#inTransaction(() => {
      this.#db.exec(SCHEMA);
      const state = this.#state();
      if (state.version === null) this.#fill();
      const { admission, changes } = admit(state, this.#me, this.#unmigrated());
      if (changes !== undefined) this.#write(changes);
      return admission;
    });
  }

  async migrateSome(count: number): Promise<number> {
    const format = majorOf(this.#me.version);
    return this.#inTransaction(() => {
      this.#db
        .prepare("UPDATE resources SET format = ? WHERE name IN (SELECT name FROM resources WHERE format <> ? LIMIT ?)")
        .run(format, format, count);
      const left = this.#unmigrated();
      if (left === 0) this.#db.prepare("DELETE FROM meta WHERE key = 'migrator'").run();
      return left;
    });
  }

  async unmigrated(): Promise<number> {
    return this.#attempt(() => this.#unmigrated());
  }

  async beat(): Promise<Standing> {
    if (this.#replaced()) return { corrupted: null, replaced: true };
    return this.#inTransaction(() => {
      const state = this.#state();
      const changes = beat(state, this.#me);
      this.#write(changes);
      return { corrupted: state.corrupted ?? changes.meta.corrupted ?? null, replaced: false };
    });
  }

  async audit(): Promise<void> {
    this.#inTransaction(() =>
      this.#db
        .prepare("INSERT INTO audit (at, instance, version) VALUES (?, ?, ?)")
        .run(Date.now(), this.#me.id, this.#me.version),
    );
  }

  async addServer({ uuid, name, roles, version }: Server, owner: string): Promise<void> {
    this.#inTransaction(() =>
      this.#db
        .prepare("INSERT OR REPLACE INTO servers VALUES (?, ?, ?, ?, ?, ?)")
        .run(uuid, name, roles.join(","), version, ownerId(this.#me, owner), this.#me.id),
    );
  }

  async removeServer({ uuid }: Server, owner: string): Promise<void> {
    this.#inTransaction(() =>
      this.#db.prepare("DELETE FROM servers WHERE uuid = ? AND owner = ?").run(uuid, ownerId(this.#me, owner)),
    );
  }

  async servers(): Promise<Server[]> {
    const rows = this.#attempt(() =>
      this.#db
        .prepare(
          `SELECT servers.uuid, servers.name, servers.roles, servers.version
             FROM servers JOIN instances ON instances.id = servers.instance WHERE instances.at > ? ORDER BY servers.name`,
        )
        .all(Date.now() - GONE_AFTER_MS),
    ) as { uuid: string; name: string; roles: string; version: string }[];
    return rows.map((row) => ({ ...row, roles: row.roles.split(",") }));
  }

  async leave(): Promise<void> {
    if (this.#replaced()) return;
    this.#inTransaction(() => this.#db.prepare("DELETE FROM instances WHERE id = ?").run(this.#me.id));
  }

  /** The last auth to close folds the WAL back into the file. */
  async close(): Promise<void> {
    this.#db.close();
  }

  /** The file was replaced or removed: writes now go nowhere. */
  #replaced(): boolean {
    return statSync(this.#file, { throwIfNoEntry: false })?.ino !== this.#inode;
  }

  #state(): State {
    const meta = new Map(
      (this.#db.prepare("SELECT key, value FROM meta").all() as { key: string; value: string }[]).map((row) => [
        row.key,
        row.value,
      ]),
    );
    return {
      version: meta.get("version") ?? null,
      corrupted: meta.get("corrupted") ?? null,
      migrator: meta.get("migrator") ?? null,
      instances: this.#db.prepare("SELECT * FROM instances").all() as Instance[],
    };
  }

  #write({ meta, alive, dead }: Changes): void {
    for (const [key, value] of Object.entries(meta)) {
      this.#db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
    }
    const { id, name, version, host, pid, birth, at } = alive;
    this.#db
      .prepare("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?)")
      .run(id, name, version, host, pid, birth, at);
    for (const one of dead) this.#db.prepare("DELETE FROM instances WHERE id = ?").run(one);
  }

  #fill(): void {
    const insert = this.#db.prepare("INSERT INTO resources VALUES (?, ?, ?)");
    for (const { name, spec, format } of firstResources(majorOf(this.#me.version))) insert.run(name, spec, format);
  }

  #unmigrated(): number {
    const row = this.#db
      .prepare("SELECT count(*) AS n FROM resources WHERE format <> ?")
      .get(majorOf(this.#me.version)) as { n: number };
    return row.n;
  }

  #inTransaction<T>(work: () => T): T {
    return this.#attempt(() => this.#db.transaction(work).immediate());
  }

  #attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (isBusy(error)) throw new Unavailable("SQLite is locked");
      throw error;
    }
  }
}

function isBusy(error: unknown): boolean {
  return (error as { code?: string }).code === "SQLITE_BUSY";
}
