import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Owner } from "../servers/child.js";
import { PostgresServer } from "../servers/postgres.js";
import type { KeptState, ReadState, States } from "./state.js";

/** States in databases of one PostgreSQL. */
export class PostgresStates implements States {
  readonly postgres: PostgresServer;
  #count = 0;

  private constructor(postgres: PostgresServer) {
    this.postgres = postgres;
  }

  static async start(owner: Owner): Promise<PostgresStates> {
    return new PostgresStates(await PostgresServer.start(owner));
  }

  async fresh(): Promise<KeptState> {
    const { postgres } = this;
    const { port, role, passFile } = postgres;
    const database = `state_${++this.#count}`;
    await postgres.sql(`CREATE DATABASE ${database}`, "postgres");
    const env = { ...process.env, PGPASSFILE: passFile };
    return {
      server: { type: "postgresql", host: "127.0.0.1", port, role, database, passFile },
      ...readPostgres((sql) => postgres.sql(sql, database)),
      copy: async () => {
        const file = join(postgres.dir, `${database}.dump`);
        const target = postgres.connString(database);
        await promisify(execFile)("pg_dump", ["-Fc", "-f", file, target], { env });
        const options = ["--clean", "--if-exists", "--single-transaction"];
        return async () => {
          await promisify(execFile)("pg_restore", [...options, "-d", target, file], { env });
        };
      },
    };
  }
}

/** Reads the state in a database. `ask` is psql for one statement, unadorned, wherever that runs. */
export function readPostgres(ask: (sql: string) => Promise<string>): ReadState {
  const column = async (sql: string) => {
    const text = await ask(sql);
    return text === "" ? [] : text.split("\n");
  };
  return {
    version: async () => (await column("SELECT value FROM meta WHERE key = 'version'"))[0] ?? null,
    audit: async () =>
      (await column("SELECT seq, version FROM audit ORDER BY seq")).map((row) => {
        const [seq, version = ""] = row.split("|");
        return { seq: Number(seq), version };
      }),
    formats: async () => (await column("SELECT DISTINCT format FROM resources ORDER BY format")).map(Number),
  };
}
