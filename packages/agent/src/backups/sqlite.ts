import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import type { Exec } from "../exec.js";
import { diskFull, shortageAt } from "../facts/disk.js";
import { runTool, type Tool, versionSaid } from "./tool.js";

/** The command line tool, not a library: the agent has no native addon. */
const SQLITE: Tool = { pkg: "sqlite3", why: "a database in use can't be copied safely without it" };
/** How long the tool waits for a writer's lock before it says busy. */
const BUSY_TIMEOUT_MS = 30_000;
/** Whoever opens a database in WAL mode, if only to read, makes an index of its log beside it. */
const TO_OPEN = { bytes: 32 * 1024, inodes: 1 };

/**
 * A consistent copy of a database that may be written all the while: VACUUM INTO reads one snapshot. `cp` would miss the
 * write-ahead log, or catch a page half written. The source must exist: sqlite3 would make an empty one.
 */
export async function copyDatabase(exec: Exec, source: string, into: string, signal: AbortSignal): Promise<void> {
  try {
    await sqlite(exec, source, [`VACUUM INTO '${into.replaceAll("'", "''")}'`], signal);
  } catch (error) {
    const { code } = error instanceof BelayError ? error : {};
    if (code === "disk-full") throw await diskFull(dirname(into), `copying ${source}`, error);
    // SQLite calls it an I/O error.
    const isShort = code === "sqlite-failed" && (await shortageAt(dirname(source), TO_OPEN)) !== null;
    throw isShort ? await diskFull(dirname(source), `opening ${source}`, error) : error;
  }
}

/** What is wrong with a database's structure; null: nothing. Opens it immutable, so that no file appears beside it. */
export async function databaseAilment(exec: Exec, path: string, signal: AbortSignal): Promise<string | null> {
  const uri = `file:${encodeURI(path).replaceAll("?", "%3f").replaceAll("#", "%23")}?mode=ro&immutable=1`;
  try {
    const said = (await sqlite(exec, uri, ["PRAGMA integrity_check(1)"], signal)).trim();
    return said === "ok" ? null : said.slice(0, 500);
  } catch (error) {
    if (error instanceof BelayError && error.code === "sqlite-failed") return error.message;
    throw error;
  }
}

async function sqlite(exec: Exec, database: string, statements: string[], signal: AbortSignal): Promise<string> {
  // -init /dev/null: root's own ~/.sqliterc has no say here.
  const argv = ["sqlite3", "-init", "/dev/null", "-batch", "-bail", "-cmd", `.timeout ${BUSY_TIMEOUT_MS}`, database];
  const result = await runTool(exec, SQLITE, [...argv, ...statements], { signal });
  const said = result.stderr.trim();
  if (result.code === 0 && said === "") return result.stdout;
  if (/database or disk is full/.test(said)) {
    throw new BelayError("disk-full", `${database}: ${said}`, {
      hint: "free some space, or prune old versions and backups",
      context: { database },
    });
  }
  const busy = /database is locked|SQLITE_BUSY/.test(said);
  throw new BelayError(
    busy ? "backup-busy" : "sqlite-failed",
    `${database}: ${said || `sqlite3 exit ${result.code}`}`,
    {
      hint: busy ? "a writer holds the database's lock: try again" : "look at the database with `sqlite3`",
      context: { database },
    },
  );
}

/** `sqlite3 3.40.1`, for manifests. */
export async function sqliteTool(exec: Exec, signal: AbortSignal): Promise<string> {
  return `sqlite3 ${versionSaid((await runTool(exec, SQLITE, ["sqlite3", "--version"], { signal })).stdout)}`;
}
