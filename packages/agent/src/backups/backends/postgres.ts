import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";
import type { PostgresBackend } from "../../config-backend.js";
import { ofFile } from "../../durable.js";
import type { Host } from "../../host.js";
import { filterTool, runTool, type Tool, versionSaid } from "../tool.js";
import type { Backend } from "./backend.js";
import { comingBack, SURROUNDINGS_SQL, type Surroundings, tablesIn } from "./postgres-contents.js";
import { emptyingSql } from "./postgres-empty.js";

const CLIENT: Tool = { pkg: "postgresql-client", why: "pg_dump, pg_restore and psql keep and put back PostgreSQL" };
const QUERY_TIMEOUT_MS = 30_000;

/** A PostgreSQL database, or some schemas of it, by the programs of its own client package. */
export function postgresBackend(name: string, config: PostgresBackend, host: Host): Backend {
  const { database, schemas } = config;
  const label = `backend ${name}`;
  const env = environment(config);
  const server = [`--host=${config.host}`, `--port=${config.port}`, `--username=${config.user}`, "--no-password"];
  const psql = ["psql", ...server, `--dbname=${database}`, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"];

  return {
    engine: "postgres",
    from: `${config.host}:${config.port} database ${database}${schemas.length === 0 ? "" : ` schemas ${schemas.join(",")}`}`,

    async measure(signal) {
      const sql = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())";
      return Number(await query(sql, signal));
    },

    async save(path, signal) {
      const only = schemas.map((schema) => `--schema=${schema}`);
      await run(["pg_dump", ...server, `--dbname=${database}`, "--format=custom", `--file=${path}`, ...only], signal);
      const said = await contents(path, signal);
      const tables = tablesIn(said);
      if (tables === 0) throw nothingThere(label, config);
      return {
        tool: `pg_dump ${versionSaid(/Dumped by pg_dump version: (.*)/.exec(said)?.[1] ?? "")}`,
        facts: { server: versionSaid(/Dumped from database version: (.*)/.exec(said)?.[1] ?? ""), tables },
      };
    },

    async ailment(path, { facts }, signal) {
      try {
        const tables = tablesIn(await contents(path, signal));
        if (tables !== facts.tables) return `holds ${tables} tables, not ${facts.tables}`;
        // Every block is read and unpacked, and goes nowhere.
        await run(["pg_restore", "--file=/dev/null", path], signal);
        return null;
      } catch (error) {
        if (error instanceof BelayError && error.code === "postgres-failed") return error.message;
        throw error;
      }
    },

    /** One transaction: what is there goes, what was there comes, and all is committed only when both have gone well. */
    async restore(path, _, signal) {
      const list = join(dirname(dirname(path)), ".belay-postgres.list");
      const surroundings = JSON.parse(await query(SURROUNDINGS_SQL, signal)) as Surroundings;
      const wanted = comingBack(await contents(path, signal), surroundings);
      try {
        await writeFile(list, wanted.list, { mode: 0o600 }).catch((error: unknown) =>
          Promise.reject(ofFile(list, error)),
        );
        const argv = ["pg_restore", "--file=-", "--exit-on-error", "--no-comments", `--use-list=${list}`, path];
        const emptying = emptyingSql(schemas, wanted.staying);
        const sql = transaction(emptying, filterTool(host.exec, CLIENT, argv, nothing(), { env, signal }));
        for await (const _said of filterTool(host.exec, CLIENT, [...psql, "--file=-"], sql, { env, signal })) {
          // Notices go to stderr; what results say is nobody's business.
        }
      } catch (error) {
        throw restoreFailed(label, error);
      } finally {
        await rm(list, { force: true });
      }
    },
  };

  async function run(argv: readonly string[], signal: AbortSignal, timeoutMs?: number): Promise<string> {
    const limits = timeoutMs === undefined ? {} : { timeoutMs };
    const maxOutputBytes = 4 * 1024 * 1024;
    const result = await runTool(host.exec, CLIENT, argv, { env, signal, maxOutputBytes, ...limits });
    if (result.code === 0) return result.stdout;
    const said = result.stderr.trim().slice(0, 1000);
    const away = /could not connect|connection to server|server closed the connection/.test(said);
    throw new BelayError(away ? "backend-unreachable" : "postgres-failed", `${argv[0]}: ${said}`, {
      hint: "run the same by hand and see; agent.yaml names server, user and passFile",
      context: { exit: result.code },
    });
  }

  /** What one statement that changes nothing says. */
  async function query(sql: string, signal: AbortSignal): Promise<string> {
    const argv = [...psql, "--tuples-only", "--no-align", `--command=${sql}`];
    return (await run(argv, signal, QUERY_TIMEOUT_MS)).trim();
  }

  /** The archive's own table of contents. */
  function contents(path: string, signal: AbortSignal): Promise<string> {
    return run(["pg_restore", "--list", path], signal);
  }
}

function environment({ passFile, sslMode, tls }: PostgresBackend): Record<string, string> {
  return {
    // What they say is matched here, and read by people everywhere.
    LC_ALL: "C",
    PGAPPNAME: "belay-agent",
    PGCONNECT_TIMEOUT: "10",
    ...(passFile === null ? {} : { PGPASSFILE: passFile }),
    ...(sslMode === null ? {} : { PGSSLMODE: sslMode }),
    ...(tls.caFile === null ? {} : { PGSSLROOTCERT: tls.caFile }),
    ...(tls.certFile === null ? {} : { PGSSLCERT: tls.certFile }),
    ...(tls.keyFile === null ? {} : { PGSSLKEY: tls.keyFile }),
  };
}

async function* transaction(emptying: string, restoring: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield Buffer.from(`BEGIN;\n${emptying}`);
  yield* restoring;
  // Reached only if pg_restore ended well: a dump cut short is rolled back.
  yield Buffer.from("COMMIT;\n");
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function nothingThere(label: string, { database, schemas }: PostgresBackend): BelayError {
  return new BelayError(
    "backup-empty",
    `${label}: database ${database} has no table${schemas.length > 0 ? ` in ${schemas.join(", ")}` : ""}`,
    {
      hint: "a backup of nothing would be none: correct `database` and `schemas` in agent.yaml",
      context: { database, schemas },
    },
  );
}

function restoreFailed(label: string, error: unknown): unknown {
  if (!(error instanceof BelayError) || error.code !== "command-failed") return error;
  const locked = /lock timeout/.test(error.message);
  return new BelayError(locked ? "backend-written" : "postgres-failed", `${label}: ${error.message}`, {
    hint: locked
      ? "somebody still uses its tables: stop the service on every host, and restore again"
      : "nothing was changed: it is one transaction. See what it says, and restore again",
    cause: error,
  });
}
