import { mkdirSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Database } from "better-sqlite3";
import { birthOf } from "./alive.js";
import { majorOf, mayShareBackend, upgradePath } from "./compat.js";
import { loadSqlite, type Release } from "./release.js";

/** An auth that is alive on the backend. */
export interface Instance {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  readonly birth: string;
  /** Milliseconds since the epoch of its last heartbeat. */
  readonly at: number;
}

/** May this auth start on this backend, and what has to happen first? */
export type Admission =
  | { readonly kind: "ready" }
  | { readonly kind: "migrate"; readonly from: string }
  /** Another live auth of this major is migrating: wait, and ask again. */
  | { readonly kind: "wait" }
  | { readonly kind: "refused"; readonly why: string };

/** On another machine a process can't be looked at, so its heartbeat speaks for it, for so long. */
const SILENT_AFTER_MS = 2_000;
/** How long one transaction waits for another process: longer means somebody copies the file under a lock. */
const BUSY_TIMEOUT_MS = 2_000;
const RESOURCES = 200;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS instances (id TEXT PRIMARY KEY, name TEXT, version TEXT, host TEXT, pid INTEGER, birth TEXT, at INTEGER);
  CREATE TABLE IF NOT EXISTS servers (uuid TEXT PRIMARY KEY, name TEXT, roles TEXT, version TEXT, owner TEXT, at INTEGER);
  CREATE TABLE IF NOT EXISTS resources (name TEXT PRIMARY KEY, spec TEXT NOT NULL, format INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, instance TEXT, version TEXT);
`;

/**
 * Auth's state: a real SQLite database in WAL mode that several auths may share. It remembers the version that last
 * wrote it, who is alive on it, and whether it was ever corrupted. Every rule about versions is decided inside one
 * immediate transaction, so two auths that start at the same moment can't both think they are alone.
 */
export class Backend {
  readonly db: Database;
  readonly #file: string;
  readonly #inode: number;
  readonly #me: Instance;

  constructor(folder: string, name: string, version: string, release: Release) {
    mkdirSync(folder, { recursive: true });
    this.#file = join(folder, "sqlite.db");
    this.db = new (loadSqlite(release))(this.#file, { timeout: BUSY_TIMEOUT_MS });
    this.db.pragma("journal_mode = WAL");
    this.db.pragma("synchronous = NORMAL");
    this.#inode = statSync(this.#file).ino;
    const birth = birthOf("self") ?? "";
    const host = hostname();
    this.#me = { id: `${host}/${process.pid}/${birth}`, name, version, host, pid: process.pid, birth, at: 0 };
  }

  get instanceId(): string {
    return this.#me.id;
  }

  /** Asks to come in. Whoever is admitted counts as alive from here on. Safe to ask again after `wait`. */
  admit(): Admission {
    return this.db
      .transaction((): Admission => {
        this.db.exec(SCHEMA);
        const corrupted = this.corrupted();
        if (corrupted !== null) return { kind: "refused", why: `backend corrupted: ${corrupted}` };
        const { version } = this.#me;
        const from = this.#read("version");
        if (from === null) this.#fill();
        else if (upgradePath(from, version) === "unsupported") {
          return { kind: "refused", why: `Unsupported upgrade path detected: from ${from} to ${version}` };
        }
        this.beat();
        if (this.corrupted() !== null) return { kind: "ready" };
        if (this.#migrator() !== null) return { kind: "wait" };
        this.#write("version", version);
        if (this.unmigrated() === 0) return { kind: "ready" };
        // The version is written before the work: from here on the old binary can't go back, done or not.
        this.#write("migrator", this.#me.id);
        return { kind: "migrate", from: from ?? version };
      })
      .immediate();
  }

  /** Moves up to `count` resources to this major's format. Returns how many are left. */
  migrateSome(count: number): number {
    const format = majorOf(this.#me.version);
    return this.db
      .transaction(() => {
        this.db
          .prepare(
            "UPDATE resources SET format = ? WHERE name IN (SELECT name FROM resources WHERE format <> ? LIMIT ?)",
          )
          .run(format, format, count);
        const left = this.unmigrated();
        if (left === 0) this.db.prepare("DELETE FROM meta WHERE key = 'migrator'").run();
        return left;
      })
      .immediate();
  }

  /** Resources that are not in this major's format. */
  unmigrated(): number {
    const row = this.db
      .prepare("SELECT count(*) AS n FROM resources WHERE format <> ?")
      .get(majorOf(this.#me.version)) as { n: number };
    return row.n;
  }

  /** Says "I am alive" and looks who else is; two majors at once corrupt the backend, for good. */
  beat(): void {
    this.db
      .transaction(() => {
        const { id, name, version, host, pid, birth } = this.#me;
        this.db
          .prepare("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?)")
          .run(id, name, version, host, pid, birth, Date.now());
        const stranger = this.#others().find((other) => !mayShareBackend(other.version, version));
        if (stranger === undefined || this.corrupted() !== null) return;
        this.#write(
          "corrupted",
          `auth ${version} (${name}) and auth ${stranger.version} (${stranger.name}) ran on it together`,
        );
      })
      .immediate();
  }

  /** What corrupted the backend; null: nothing did. */
  corrupted(): string | null {
    return this.#read("corrupted");
  }

  /** True when the file was replaced or removed under the running auth, whose writes now go nowhere. */
  replaced(): boolean {
    return statSync(this.#file, { throwIfNoEntry: false })?.ino !== this.#inode;
  }

  /** One audit event in a transaction of its own. The sequence shows what a restore lost. */
  audit(): void {
    this.db
      .prepare("INSERT INTO audit (at, instance, version) VALUES (?, ?, ?)")
      .run(Date.now(), this.#me.id, this.#me.version);
  }

  /** Takes this auth off the list of the living. Whoever dies without it is swept by the others. */
  leave(): void {
    if (!this.replaced()) this.db.prepare("DELETE FROM instances WHERE id = ?").run(this.#me.id);
  }

  /** The last auth to close folds the WAL back into the file. */
  close(): void {
    this.db.close();
  }

  /** Live auths besides this one. Rows of the dead are swept. */
  #others(): Instance[] {
    const rows = this.db.prepare("SELECT * FROM instances WHERE id <> ?").all(this.#me.id) as Instance[];
    const dead = rows.filter((row) => !isAlive(row));
    for (const row of dead) this.db.prepare("DELETE FROM instances WHERE id = ?").run(row.id);
    return rows.filter((row) => !dead.includes(row));
  }

  #migrator(): Instance | null {
    const id = this.#read("migrator");
    return this.#others().find((other) => other.id === id) ?? null;
  }

  #fill(): void {
    const insert = this.db.prepare("INSERT INTO resources VALUES (?, ?, ?)");
    for (let i = 1; i <= RESOURCES; i++)
      insert.run(`role/${i}`, JSON.stringify({ allow: i }), majorOf(this.#me.version));
  }

  #read(key: string): string | null {
    const row = this.db.prepare("SELECT value FROM meta WHERE key = ?").get(key) as { value: string } | undefined;
    return row?.value ?? null;
  }

  #write(key: string, value: string): void {
    this.db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
  }
}

function isAlive(instance: Instance): boolean {
  if (instance.host !== hostname()) return instance.at > Date.now() - SILENT_AFTER_MS;
  return birthOf(instance.pid) === instance.birth;
}
