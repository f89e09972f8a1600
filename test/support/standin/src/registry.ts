import type { Backend } from "./backend.js";
import type { Client } from "./compat.js";

export interface Server extends Client {
  readonly uuid: string;
}

/** A server that no auth has vouched for this long is gone. Several heartbeats of the auth that holds it. */
const GONE_AFTER_MS = 1_500;

/**
 * Who is connected to the cluster, over all its auths: kept in the shared backend, so that every auth sees the proxies
 * that another one serves.
 */
export class Registry {
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** `owner` names the connection, so that a late goodbye of an old process can't remove its successor. Idempotent. */
  add(server: Server, owner: string): void {
    this.#backend.db
      .prepare("INSERT OR REPLACE INTO servers VALUES (?, ?, ?, ?, ?, ?)")
      .run(server.uuid, server.name, server.roles.join(","), server.version, this.#owned(owner), Date.now());
  }

  remove(server: Server, owner: string): void {
    this.#backend.db.prepare("DELETE FROM servers WHERE uuid = ? AND owner = ?").run(server.uuid, this.#owned(owner));
  }

  /** Vouches for everything this auth holds: one statement however many there are. */
  vouch(): void {
    this.#backend.db
      .prepare("UPDATE servers SET at = ? WHERE owner LIKE ? ESCAPE '\\'")
      .run(Date.now(), `${this.#owned("").replace(/[\\%_]/g, "\\$&")}%`);
  }

  list(): Server[] {
    const rows = this.#backend.db
      .prepare("SELECT uuid, name, roles, version FROM servers WHERE at > ? ORDER BY name")
      .all(Date.now() - GONE_AFTER_MS) as { uuid: string; name: string; roles: string; version: string }[];
    return rows.map((row) => ({ ...row, roles: row.roles.split(",") }));
  }

  proxies(): Server[] {
    return this.list().filter((server) => server.roles.includes("proxy"));
  }

  #owned(owner: string): string {
    return `${this.#backend.instanceId}#${owner}`;
  }
}
