import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type SqliteDatabase from "better-sqlite3";
import type * as Postgres from "pg";

/** What a release does, once it is installed. Everything but `good` is bad on purpose. */
export type Behaviour =
  | { readonly kind: "good" }
  /** Exits with 2 before anything else, as a Go panic does. */
  | { readonly kind: "crash-at-start" }
  /** Starts well, and panics `afterMs` after its start has succeeded. */
  | { readonly kind: "crash-after"; readonly afterMs: number }
  /** Starts, writes its PID file, and answers `/readyz` with 400 for ever. */
  | { readonly kind: "never-ready" }
  /** Auth gives up in the middle of a migration, with the backend half moved. */
  | { readonly kind: "migration-fails" }
  /** Takes HUP and does nothing. */
  | { readonly kind: "ignores-hup" };

/** What the release builder writes beside the program. */
export interface Release {
  readonly version: string;
  readonly commit: string;
  readonly behaviour: Behaviour;
  /** The behaviour shows only where the process runs one of these roles; absent: everywhere. */
  readonly onlyRoles?: readonly string[];
  /**
   * The folder whose `node_modules` holds better-sqlite3 and pg. Baked in, because a release is unpacked anywhere and
   * started by programs that pass no environment of ours.
   */
  readonly modulesFrom: string;
}

/** The release that this very file was unpacked from, or is. */
export function ownRelease(): Release {
  const { standinRelease } = globalThis as { standinRelease?: Release };
  if (standinRelease !== undefined) return standinRelease;
  return JSON.parse(readFileSync(new URL("../release.json", import.meta.url), "utf8")) as Release;
}

/** How this release behaves where it runs `roles`. */
export function behaviourFor(release: Release, roles: readonly string[]): Behaviour {
  const concerned = release.onlyRoles?.some((role) => roles.includes(role)) ?? true;
  return concerned ? release.behaviour : { kind: "good" };
}

/** The SQLite driver, loaded late: it costs a third of a start, and most starts of proxies and nodes need none. */
export function loadSqlite(release: Release): typeof SqliteDatabase {
  return createRequire(`${release.modulesFrom}/`)("better-sqlite3") as typeof SqliteDatabase;
}

/** The PostgreSQL driver, loaded late for the same reason. */
export function loadPostgres(release: Release): typeof Postgres {
  return createRequire(`${release.modulesFrom}/`)("pg") as typeof Postgres;
}
