import Database from "better-sqlite3";
import type { HostOnDisk } from "../support/fleet-on-disk/index.js";

interface BackendState {
  /** The version that last wrote it. */
  readonly version: string | null;
  /** What corrupted it; null: nothing did. */
  readonly corrupted: string | null;
  /** Majors in whose format its resources are; two of them: a migration that stopped half-way. */
  readonly formats: readonly number[];
}

interface AuditRow {
  readonly seq: number;
  readonly at: number;
}

/** What the stand-in's state backend says of itself. */
export function backendOf(host: HostOnDisk): BackendState {
  return reading(host, (db) => {
    const rows = db.prepare("SELECT key, value FROM meta").all() as { key: string; value: string }[];
    const meta = new Map(rows.map(({ key, value }) => [key, value]));
    const formats = db.prepare("SELECT DISTINCT format FROM resources ORDER BY format").pluck().all() as number[];
    return { version: meta.get("version") ?? null, corrupted: meta.get("corrupted") ?? null, formats };
  });
}

/** What auth has written so far; nothing while the file is being replaced. */
export function auditOf(host: HostOnDisk): AuditRow[] {
  try {
    return reading(host, (db) => db.prepare("SELECT seq, at FROM audit").all() as AuditRow[]);
  } catch (error) {
    if (String((error as { code?: string }).code).startsWith("SQLITE_")) return [];
    throw error;
  }
}

function reading<T>({ name, backend }: HostOnDisk, read: (db: Database.Database) => T): T {
  if (backend === null) throw new TypeError(`${name} has no backend`);
  const db = new Database(backend, { readonly: true, timeout: 5_000 });
  try {
    return read(db);
  } finally {
    db.close();
  }
}
