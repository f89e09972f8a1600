import type { Client } from "pg";
import type { Instance } from "./alive.js";
import { type Backend, Unavailable } from "./backend.js";
import { majorOf } from "./compat.js";
import { loadPostgres, type Release } from "./release.js";
import { type Admission, admit, beat, type Changes, firstResources, type Standing, type State } from "./rules.js";
import { GONE_AFTER_MS, ownerId, type Server } from "./servers.js";

const TIMEOUT_MS = 2_000;
/** Held by whoever decides, until its transaction ends. The number means nothing but this. */
const DECIDING = 5_432_001;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key text PRIMARY KEY, value text NOT NULL);
  CREATE TABLE IF NOT EXISTS instances (id text PRIMARY KEY, name text, version text, host text, pid integer, birth text, at bigint);
  CREATE TABLE IF NOT EXISTS servers (uuid text PRIMARY KEY, name text, roles text, version text, owner text, instance text);
  CREATE TABLE IF NOT EXISTS resources (name text PRIMARY KEY, spec text NOT NULL, format integer NOT NULL);
  CREATE TABLE IF NOT EXISTS audit (seq bigint PRIMARY KEY, at bigint, instance text, version text);
  INSERT INTO meta VALUES ('audit-sequence', '0') ON CONFLICT DO NOTHING;
`;

/**
 * One more audit event, unless a restore took away what this auth wrote. The counter's row lock keeps its writers in line,
 * which a sequence with its gaps would not.
 */
const AUDIT = `
  WITH next AS (
    UPDATE meta SET value = value::bigint + 1 WHERE key = 'audit-sequence' AND value::bigint >= $4 RETURNING value::bigint AS seq
  )
  INSERT INTO audit SELECT seq, $1, $2, $3 FROM next RETURNING seq`;

/** State in a PostgreSQL database of its own, over one connection, which is made anew when it is lost. */
export class PostgresBackend implements Backend {
  readonly #connString: string;
  readonly #me: Instance;
  readonly #release: Release;
  #client: Client | null = null;
  /** What the table was when this auth came in: a restore makes another one. */
  #table: string | null = null;
  /** The latest audit event of this auth: a restore may know less. */
  #audited = 0;

  constructor(connString: string, me: Instance, release: Release) {
    this.#connString = connString;
    this.#me = me;
    this.#release = release;
  }

  admit(): Promise<Admission> {
    return this.#deciding(async (client) => {
      await client.query(SCHEMA);
      const { state, table } = await read(client);
      this.#table = table;
      if (state.version === null) await fill(client, majorOf(this.#me.version));
      const { admission, changes } = admit(state, this.#me, await this.#unmigrated(client));
      if (changes !== undefined) await write(client, changes);
      return admission;
    });
  }

  migrateSome(count: number): Promise<number> {
    return this.#deciding(async (client) => {
      await client.query(
        "UPDATE resources SET format = $1 WHERE name IN (SELECT name FROM resources WHERE format <> $1 LIMIT $2)",
        [majorOf(this.#me.version), count],
      );
      const left = await this.#unmigrated(client);
      if (left === 0) await client.query("DELETE FROM meta WHERE key = 'migrator'");
      return left;
    });
  }

  unmigrated(): Promise<number> {
    return this.#attempt((client) => this.#unmigrated(client));
  }

  beat(): Promise<Standing> {
    return this.#deciding(async (client) => {
      const { state, table, audited } = await read(client);
      if (table !== this.#table || audited < this.#audited) return { corrupted: state.corrupted, replaced: true };
      const changes = beat(state, this.#me);
      await write(client, changes);
      return { corrupted: state.corrupted ?? changes.meta.corrupted ?? null, replaced: false };
    });
  }

  audit(): Promise<void> {
    return this.#attempt(async (client) => {
      const { rows } = await client.query<{ seq: string }>(AUDIT, [
        Date.now(),
        this.#me.id,
        this.#me.version,
        this.#audited,
      ]);
      this.#audited = Math.max(this.#audited, ...rows.map((row) => Number(row.seq)));
    });
  }

  addServer({ uuid, name, roles, version }: Server, owner: string): Promise<void> {
    return this.#attempt(async (client) => {
      await client.query(
        `INSERT INTO servers VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (uuid) DO UPDATE
           SET (name, roles, version, owner, instance) = (excluded.name, excluded.roles, excluded.version, excluded.owner, excluded.instance)`,
        [uuid, name, roles.join(","), version, ownerId(this.#me, owner), this.#me.id],
      );
    });
  }

  removeServer({ uuid }: Server, owner: string): Promise<void> {
    return this.#attempt(async (client) => {
      await client.query("DELETE FROM servers WHERE uuid = $1 AND owner = $2", [uuid, ownerId(this.#me, owner)]);
    });
  }

  servers(): Promise<Server[]> {
    return this.#attempt(async (client) => {
      const { rows } = await client.query<{ uuid: string; name: string; roles: string; version: string }>(
        `SELECT servers.uuid, servers.name, servers.roles, servers.version
           FROM servers JOIN instances ON instances.id = servers.instance WHERE instances.at > $1 ORDER BY servers.name`,
        [Date.now() - GONE_AFTER_MS],
      );
      return rows.map((row) => ({ ...row, roles: row.roles.split(",") }));
    });
  }

  leave(): Promise<void> {
    return this.#attempt(async (client) => {
      await client.query("DELETE FROM instances WHERE id = $1", [this.#me.id]);
    });
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end();
  }

  async #unmigrated(client: Client): Promise<number> {
    const format = majorOf(this.#me.version);
    const { rows } = await client.query<{ n: number }>(
      "SELECT count(*)::integer AS n FROM resources WHERE format <> $1",
      [format],
    );
    return rows[0]?.n ?? 0;
  }

  /** A transaction that no other decision overlaps: all that it reads stays so until it has written. */
  #deciding<T>(decide: (client: Client) => Promise<T>): Promise<T> {
    return this.#attempt(async (client) => {
      await client.query("BEGIN");
      await client.query("SELECT pg_advisory_xact_lock($1)", [DECIDING]);
      const decided = await decide(client);
      await client.query("COMMIT");
      return decided;
    });
  }

  /** A connection on which something failed is let go, and its open transaction with it. */
  async #attempt<T>(work: (client: Client) => Promise<T>): Promise<T> {
    try {
      this.#client ??= await this.#connect();
      return await work(this.#client);
    } catch (error) {
      const lost = this.#client;
      this.#client = null;
      lost?.end().catch(() => undefined);
      throw new Unavailable(`PostgreSQL: ${(error as Error).message}`);
    }
  }

  async #connect(): Promise<Client> {
    const client = new (loadPostgres(this.#release).Client)({
      connectionString: this.#connString,
      application_name: "teleport",
      connectionTimeoutMillis: TIMEOUT_MS,
      query_timeout: TIMEOUT_MS,
    });
    // A connection that breaks while idle: the next use of it fails, and makes another.
    client.on("error", () => undefined);
    await client.connect();
    return client;
  }
}

async function read(client: Client): Promise<{ state: State; table: string; audited: number }> {
  const { rows: pairs } = await client.query<{ key: string; value: string; table: string }>(
    "SELECT key, value, tableoid::text AS table FROM meta",
  );
  const { rows: instances } = await client.query<Omit<Instance, "at"> & { at: string }>("SELECT * FROM instances");
  const meta = new Map(pairs.map((pair) => [pair.key, pair.value]));
  return {
    state: {
      version: meta.get("version") ?? null,
      corrupted: meta.get("corrupted") ?? null,
      migrator: meta.get("migrator") ?? null,
      instances: instances.map((instance) => ({ ...instance, at: Number(instance.at) })),
    },
    table: pairs[0]?.table ?? "",
    audited: Number(meta.get("audit-sequence") ?? 0),
  };
}

async function write(client: Client, { meta, alive, dead }: Changes): Promise<void> {
  for (const [key, value] of Object.entries(meta)) {
    await client.query("INSERT INTO meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", [
      key,
      value,
    ]);
  }
  const { id, name, version, host, pid, birth, at } = alive;
  await client.query(
    "INSERT INTO instances VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
    [id, name, version, host, pid, birth, at],
  );
  if (dead.length > 0) await client.query("DELETE FROM instances WHERE id = ANY($1)", [dead]);
}

async function fill(client: Client, major: number): Promise<void> {
  const resources = firstResources(major);
  await client.query("INSERT INTO resources SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])", [
    resources.map(({ name }) => name),
    resources.map(({ spec }) => spec),
    resources.map(({ format }) => format),
  ]);
}
