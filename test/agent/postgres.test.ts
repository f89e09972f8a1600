import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Op } from "@belay/shared";
import t, { type Test } from "tap";
import { whyNoPostgres } from "../support/servers/postgres.js";
import { everythingIn, flipByte } from "./support/backups.js";
import { PostgresBackend } from "./support/postgres-backend.js";
import { LACKS, noSmallDisks, SmallDisk } from "./support/small-disk.js";
import { World } from "./support/world.js";

t.setTimeout(240_000);
const real = { skip: whyNoPostgres() };

async function scene(t: Test, more = "", role?: string) {
  const backend = await PostgresBackend.start(t);
  const { server } = backend;
  const sql = (text: string, by?: string) => backend.sql(text, by);
  const world = await World.make(t);
  if (role !== undefined) backend.addRole(role);
  world.more = `backends: { state: ${backend.config(more, role)} }`;
  await world.start();
  const dir = join(world.dir, "backups");
  const items = [{ kind: "backend" as const, backend: "state" }];
  const backupOf = (id: string): Op => ({ kind: "backup", spec: { id, dir, items, version: "5.0.0" } });
  const verify: Op = { kind: "verify-backup", id: "b1", dir };
  const restore: Op = { kind: "restore", id: "b1", dir, service: "svc" };
  return {
    server,
    sql,
    world,
    dir,
    backup: backupOf("b1"),
    backupOf,
    verify,
    restore,
    dump: join(dir, "b1", "0-state"),
  };
}

const STATE = `CREATE TABLE kv (key bytea PRIMARY KEY, value bytea NOT NULL, expires timestamptz);
INSERT INTO kv SELECT convert_to('/item/' || n, 'UTF8'), decode(md5(n::text), 'hex'), NULL FROM generate_series(1, 2000) n;
CREATE INDEX kv_expires ON kv (expires);
CREATE SEQUENCE revision START 41;
SELECT nextval('revision');
CREATE TYPE state AS ENUM ('on', 'off');
CREATE TABLE switch (name text PRIMARY KEY, is_on state);
INSERT INTO switch VALUES ('light', 'on');
CREATE FUNCTION bright() RETURNS boolean LANGUAGE sql AS $$ SELECT is_on = 'on' FROM switch $$;
CREATE VIEW lights AS SELECT * FROM switch;`;
const LOOK = `SELECT count(*) || ' ' || md5(string_agg(encode(key, 'hex') || encode(value, 'hex'), '' ORDER BY key)) FROM kv;
SELECT last_value FROM revision; SELECT bright(); SELECT * FROM lights;
SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace;`;

t.test(
  "no bytes, then no inodes, for the list of what comes back: the database is as it was, and nothing half-made lies there",
  { skip: noSmallDisks || whyNoPostgres() },
  async (t) => {
    const { sql, world, dir, backup, restore } = await scene(t);
    const disk = SmallDisk.mount(t, dir, { bytes: 40_000_000 });
    sql(STATE);
    const before = sql(LOOK);
    await world.controller.step(backup);
    sql("UPDATE switch SET is_on = 'off'");
    const newer = sql(LOOK);
    for (const lack of LACKS) {
      disk.fill(lack);
      const error = { code: "disk-full", message: new RegExp(`${dir} .*\\b0 ${lack}`) };
      t.match(await world.controller.step(restore), { status: "failed", retryable: true, error }, lack);
      t.equal(sql(LOOK), newer);
      t.same(readdirSync(dir).sort(), [".ballast", "b1"]);
      disk.empty();
    }
    t.match(await world.controller.step(restore), { status: "done" });
    t.equal(sql(LOOK), before);
  },
);

t.test("a database comes back as it was, without what a newer version has added (I4)", real, async (t) => {
  const { server, sql, world, dir, backup, verify, restore } = await scene(t);
  sql(STATE);
  const before = sql(LOOK);
  const kept = await world.controller.step(backup);
  t.match(kept, { status: "done", changed: true, result: { items: 1, verified: true } });
  t.match(JSON.parse(readFileSync(join(dir, "b1", "manifest.json"), "utf8")).items, [
    {
      kind: "backend",
      engine: "postgres",
      from: `127.0.0.1:${server.port} database teleport`,
      tool: /^pg_dump 15\./,
      facts: { server: /^15\./, tables: 2 },
    },
  ]);
  sql(`UPDATE kv SET value = 'x' WHERE key < '/item/5'; DROP VIEW lights; ALTER TABLE switch ADD COLUMN since timestamptz;
    CREATE TABLE added (name text REFERENCES switch); CREATE TYPE newer AS ENUM ('a'); SELECT nextval('revision');
    CREATE SCHEMA audit; CREATE TABLE audit.events (id int); CREATE PUBLICATION feed FOR TABLE kv;
    CREATE FUNCTION newer() RETURNS int LANGUAGE sql AS 'SELECT 1';`);
  t.not(sql(`SELECT count(*) FROM pg_class WHERE relname = 'added'`), "0");
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.match(await world.controller.step(restore), { status: "done", changed: true });
  t.equal(sql(LOOK), before);
  t.equal(sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'audit'"), "0");
  t.equal(sql("SELECT count(*) FROM pg_proc WHERE proname = 'newer'"), "0");
  t.match(await world.controller.step(restore), { status: "done" }, "repeated, it does no harm");
  t.equal(sql(LOOK), before);
  t.same(readdirSync(dir), ["b1"]);
});

t.test("what goes along with something else is not looked for by a name that it has no more", real, async (t) => {
  const { sql, world, backup, restore } = await scene(t);
  sql(STATE);
  t.match(await world.controller.step(backup), { status: "done" });
  const before = sql(LOOK);
  const each = (statement: string) =>
    Array.from({ length: 80 }, (_, n) => `${statement.replaceAll("#", `${n}`)};`).join("\n");
  sql(each("CREATE FUNCTION base#() RETURNS int LANGUAGE sql AS 'SELECT 1'"));
  sql(each("CREATE FUNCTION after#() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT base#(); END"));
  t.match(await world.controller.step(restore), { status: "done" });
  t.equal(sql(LOOK), before);
  t.equal(sql("SELECT count(*) FROM pg_proc WHERE proname ~ '^(base|after)'"), "0");
});

t.test("with schemas named, all else in the database stays", real, async (t) => {
  const { sql, world, backup, restore } = await scene(t, ", schemas: [public, teleport]");
  sql(
    "CREATE SCHEMA teleport; CREATE TABLE teleport.kv (v text); INSERT INTO teleport.kv VALUES ('old'); CREATE TABLE public.p (v int)",
  );
  sql("CREATE SCHEMA other; CREATE TABLE other.kv (v text); INSERT INTO other.kv VALUES ('old')");
  t.match(await world.controller.step(backup), { status: "done" });
  sql(
    "UPDATE teleport.kv SET v = 'new'; UPDATE other.kv SET v = 'new'; CREATE TABLE teleport.added (v text); DROP TABLE public.p",
  );
  t.match(await world.controller.step(restore), { status: "done" });
  t.equal(sql("SELECT v FROM teleport.kv; SELECT v FROM other.kv; SELECT count(*) FROM public.p"), "old\nnew\n0");
  t.equal(sql("SELECT to_regclass('teleport.added') IS NULL"), "t");
});

// Somebody who may do more than the service makes the schema, and grants on it; the tables are the service's.
const BY_OTHERS = `GRANT USAGE ON SCHEMA teleport TO middle WITH GRANT OPTION; SET ROLE middle; GRANT USAGE ON SCHEMA teleport TO reader;
  RESET ROLE; ALTER DEFAULT PRIVILEGES IN SCHEMA teleport GRANT SELECT ON TABLES TO reader;`;
const OWNERSHIPS = {
  "another one's": `CREATE SCHEMA teleport; GRANT ALL ON SCHEMA teleport TO app; ${BY_OTHERS}`,
  "its own, and it can make no other": "CREATE SCHEMA teleport AUTHORIZATION app;",
};
const BY_APP = `SET search_path = teleport; CREATE TABLE kv (v text); INSERT INTO kv VALUES ('old');
  CREATE TYPE state AS ENUM ('on'); CREATE COLLATION plain (locale = 'C'); CREATE FUNCTION same(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = $2';
  CREATE OPERATOR === (FUNCTION = same, LEFTARG = int, RIGHTARG = int); CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);`;
const RIGHTS = `SELECT nspowner::regrole, nspacl FROM pg_namespace WHERE nspname = 'teleport';
  SELECT defaclrole::regrole, defaclacl FROM pg_default_acl`;

for (const [whose, made] of Object.entries(OWNERSHIPS)) {
  for (const schemas of [", schemas: [teleport]", ""]) {
    t.test(
      `a schema that is ${whose}, of ${schemas === "" ? "the whole database" : "those named"}`,
      real,
      async (t) => {
        const { sql, world, backup, restore } = await scene(t, schemas, "app");
        sql(`CREATE ROLE middle; CREATE ROLE reader; CREATE SCHEMA "left alone"; ${made}`);
        sql(BY_APP, "app");
        const rights = sql(RIGHTS);
        t.match(await world.controller.step(backup), { status: "done", result: { verified: true } });
        sql("UPDATE teleport.kv SET v = 'new'; CREATE TABLE teleport.added (v text)", "app");
        t.match(await world.controller.step(restore), { status: "done", changed: true });
        t.equal(sql("SELECT v, to_regclass('teleport.added') FROM teleport.kv", "app"), "old|");
        t.equal(
          sql("SELECT 1 OPERATOR(teleport.===) 1, 'on'::teleport.state, 'a' COLLATE teleport.plain", "app"),
          "t|on|a",
        );
        t.equal(sql(RIGHTS), rights, "whose it is, and who may use it, is as it was");
        t.match(await world.controller.step(restore), { status: "done" }, "repeated, it does no harm");
      },
    );
  }
}

t.test("a schema that is gone is made again by whoever may", real, async (t) => {
  const { sql, world, backup, restore } = await scene(t, ", schemas: [teleport]", "app");
  sql("GRANT CREATE ON DATABASE teleport TO app; CREATE SCHEMA teleport AUTHORIZATION app");
  sql(BY_APP, "app");
  t.match(await world.controller.step(backup), { status: "done" });
  sql("DROP SCHEMA teleport CASCADE", "app");
  sql("REVOKE CREATE ON DATABASE teleport FROM app");
  const refused = { code: "postgres-failed", message: /permission denied for database teleport/ };
  t.match(await world.controller.step(restore), { status: "failed", error: refused });
  sql("GRANT CREATE ON DATABASE teleport TO app");
  t.match(await world.controller.step(restore), { status: "done" });
  t.equal(sql("SELECT v FROM teleport.kv"), "old");
});

t.test("a restore that fails in the middle changes nothing", real, async (t) => {
  const { server, sql, world, backup, restore, dump, dir } = await scene(t);
  sql(STATE);
  await world.controller.step(backup);
  sql("UPDATE kv SET value = 'newer'");
  const before = sql(LOOK);
  // Sound as an archive, but nobody here may own what is in it.
  sql("CREATE ROLE gone SUPERUSER; ALTER TABLE kv OWNER TO gone");
  t.match(await world.controller.step({ ...backup, spec: { ...(backup as { spec: object }).spec, id: "b2" } } as Op), {
    status: "done",
  });
  sql(`ALTER TABLE kv OWNER TO ${server.role}; DROP ROLE gone`);
  t.match(await world.controller.step({ ...restore, id: "b2" } as Op), {
    status: "failed",
    retryable: false,
    error: { code: "postgres-failed", message: /role "gone" does not exist/ },
  });
  t.equal(sql(LOOK), before);
  t.ok(readFileSync(dump).length > 0 && readdirSync(dir).length === 2);
});

t.test("a dump that changed by one byte is refused, and a restore of it touches nothing", real, async (t) => {
  const { sql, world, backup, verify, restore, dump } = await scene(t);
  sql(STATE);
  await world.controller.step(backup);
  sql("DELETE FROM kv");
  flipByte(dump, Math.floor(readFileSync(dump).length / 2));
  for (const op of [verify, restore])
    t.match(await world.controller.step(op), { status: "failed", retryable: false, error: { code: "backup-corrupt" } });
  t.equal(sql("SELECT count(*) FROM kv"), "0");
});

t.test("a password is used, and said nowhere; a wrong one and an empty database are told apart", real, async (t) => {
  const { server, sql, world, dir, backup, backupOf } = await scene(t);
  t.match(await world.controller.step(backup), { status: "failed", retryable: false, error: { code: "backup-empty" } });
  sql(STATE);
  t.match(await world.controller.step(backup), { status: "done" });
  const { passFile, port, password } = server;
  writeFileSync(passFile, `127.0.0.1:${port}:*:*:wrong-${password}\n`);
  t.match(await world.controller.step(backupOf("b2")), {
    status: "failed",
    error: { message: /password authentication failed/ },
  });
  t.same(readdirSync(dir), ["b1"]);
  t.notMatch(JSON.stringify(world.controller.told), password);
  t.notMatch(everythingIn(world.stateDir), password, "journal");
  t.notMatch(readFileSync(join(dir, "b1", "manifest.json"), "utf8"), password);
});
