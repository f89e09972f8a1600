import { copyFileSync, renameSync } from "node:fs";
import Sqlite from "better-sqlite3";
import type { HostOnDisk } from "../fleet-on-disk/index.js";
import type { AuditEvent, KeptState, States } from "./state.js";

export class SqliteStates implements States {
  async fresh(): Promise<KeptState> {
    return {
      server: null,
      version: async (host) =>
        read<{ value: string }>(host, "SELECT value FROM meta WHERE key = 'version'")[0]?.value ?? null,
      audit: async (host) => read<AuditEvent>(host, "SELECT seq, version FROM audit ORDER BY seq"),
      formats: async (host) =>
        read<{ format: number }>(host, "SELECT DISTINCT format FROM resources ORDER BY format").map(
          (row) => row.format,
        ),
      copy: async (host) => {
        const file = fileOf(host);
        copyFileSync(file, `${file}.copy`);
        return async () => renameSync(`${file}.copy`, file);
      },
    };
  }
}

function fileOf(host: HostOnDisk): string {
  if (host.backend === null) throw new Error(`${host.name} has no SQLite backend`);
  return host.backend;
}

function read<T>(host: HostOnDisk, sql: string): T[] {
  const db = new Sqlite(fileOf(host), { readonly: true });
  try {
    return db.prepare(sql).all() as T[];
  } finally {
    db.close();
  }
}
