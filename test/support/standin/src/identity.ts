import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadSqlite, type Release } from "./release.js";

/**
 * The host's identity: `host_uuid`, and the keys in `proc/sqlite.db`, both made at the first start and kept for life.
 * Idempotent. Returns the uuid. Throws when the uuid is there and the database is not: a host with half an identity
 * can't join, which is what a careless restore leaves.
 */
export function ensureIdentity(dataDir: string, release: Release): string {
  const uuidFile = join(dataDir, "host_uuid");
  const keysFile = join(dataDir, "proc", "sqlite.db");
  if (existsSync(uuidFile)) {
    if (!existsSync(keysFile)) throw new Error(`${keysFile} is gone: this host has lost its identity`);
    return readFileSync(uuidFile, "utf8").trim();
  }
  const uuid = randomUUID();
  mkdirSync(join(dataDir, "proc"), { recursive: true });
  const keys = new (loadSqlite(release))(keysFile);
  keys.pragma("journal_mode = WAL");
  keys.exec("CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, modified INTEGER, value TEXT)");
  keys.prepare("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)").run("/ids/host/current", Date.now(), randomUUID());
  keys.close();
  writeFileSync(uuidFile, `${uuid}\n`, { mode: 0o600 });
  return uuid;
}
