import { copyFileSync, readFileSync, renameSync } from "node:fs";
import Sqlite from "better-sqlite3";
import t from "tap";
import { askHost } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";

function read<T>(fleet: SmallFleet, sql: string): T[] {
  const db = new Sqlite(fleet.host("auth-1").backend ?? "", { readonly: true });
  try {
    return db.prepare(sql).all() as T[];
  } finally {
    db.close();
  }
}

const writtenBy = (fleet: SmallFleet) =>
  read<{ value: string }>(fleet, "SELECT value FROM meta WHERE key = 'version'")[0]?.value;
const auditRows = (fleet: SmallFleet) => read<{ seq: number }>(fleet, "SELECT seq FROM audit ORDER BY seq");
const one = () => [cluster("main", { auth: 1 })];

t.test("auth writes all the time, in one unbroken sequence", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", one());
  await fleet.start("auth-1");
  await until("ten audit rows", () => auditRows(fleet).length >= 10);
  await fleet.stop("auth-1");
  const before = auditRows(fleet).length;
  await fleet.start("auth-1");
  const rows = await until("more rows after a restart", () => auditRows(fleet).length > before && auditRows(fleet));
  t.same(
    rows.map((row) => row.seq),
    rows.map((_, i) => i + 1),
  );
});

t.test("a new major migrates: 400 and teleport_migrations 1 meanwhile, then ready", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", one());
  await fleet.start("auth-1");
  t.equal(writtenBy(fleet), "5.4.2");
  await fleet.stop("auth-1");
  await fleet.install("auth-1", "6.2.31");
  const { diag } = fleet.host("auth-1");
  fleet.launch("auth-1", { STANDIN_MIGRATION_MS: "1500" });
  const migrations = async () => /^teleport_migrations (\d)$/m.exec(await (await fetch(`${diag}/metrics`)).text())?.[1];
  await until("the migration to show", async () => (await migrations().catch(() => "")) === "1");
  const readyz = await fetch(`${diag}/readyz`);
  t.equal(readyz.status, 400);
  t.match(await readyz.json(), { status: "starting", why: [/migrating the backend from 5\.4\.2 to 6\.2\.31/] });
  t.equal((await fetch(`${diag}/healthz`)).status, 200);
  await until("readiness", async () => (await askHost(fleet.host("auth-1"))).ready === 200);
  t.equal(await migrations(), "0");
  t.equal(writtenBy(fleet), "6.2.31");
  t.same(read(fleet, "SELECT DISTINCT format FROM resources"), [{ format: 6 }]);
});

t.test("a skipped major is refused, and so is an older binary on a migrated backend (I3)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", one());
  await fleet.start("auth-1");
  await fleet.replace("auth-1", "7.1.0");
  const [skipped] = await fleet.diary("auth-1", "refused", 1);
  t.equal(skipped?.reason, "Unsupported upgrade path detected: from 5.4.2 to 7.1.0");
  t.equal(writtenBy(fleet), "5.4.2", "a refused start leaves no trace");

  await fleet.install("auth-1", "6.2.31");
  await fleet.start("auth-1");
  await fleet.replace("auth-1", "5.4.2");
  const refusals = await fleet.diary("auth-1", "refused", 2);
  t.equal(refusals[1]?.reason, "Unsupported upgrade path detected: from 6.2.31 to 5.4.2");
});

t.test("a migration that was killed is taken up again, never by the old major", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", one());
  await fleet.start("auth-1");
  await fleet.stop("auth-1");
  await fleet.install("auth-1", "6.2.31");
  fleet.launch("auth-1", { STANDIN_MIGRATION_MS: "60000" });
  const [started] = (await fleet.diary("auth-1", "start", 2)).slice(1);
  await until("the migration to begin", () => writtenBy(fleet) === "6.2.31");
  process.kill(started?.pid ?? 0, "SIGKILL");
  await fleet.replace("auth-1", "5.4.2");
  await fleet.diary("auth-1", "refused");
  await fleet.install("auth-1", "6.2.31");
  await fleet.start("auth-1");
  t.same(read(fleet, "SELECT DISTINCT format FROM resources"), [{ format: 6 }]);
});

t.test("of two auths that start at a new major together, one migrates and the other waits", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 2 })]);
  const names = ["auth-1", "auth-2"];
  await fleet.start(...names);
  await fleet.stop(...names);
  for (const name of names) await fleet.install(name, "6.2.31");
  for (const name of names) fleet.launch(name, { STANDIN_MIGRATION_MS: "1500" });
  for (const name of names) await fleet.diary(name, "ready", 2);
  const logs = names.map((name) => readFileSync(fleet.host(name).service.logFile, "utf8"));
  t.equal(logs.filter((log) => log.includes("migrating the backend")).length, 1);
  for (const name of names) t.equal((await askHost(fleet.host(name))).ready, 200);
});

t.test("two majors of auth at once corrupt the backend for good (I5)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 2 })]);
  await fleet.start("auth-1", "auth-2");
  await fleet.replace("auth-2", "6.2.31");
  for (const name of ["auth-1", "auth-2"]) {
    const said = await until(`${name} to be degraded`, async () => {
      const answer = await askHost(fleet.host(name));
      return answer.ready === 503 && answer;
    });
    t.match(said.why[0], /backend corrupted: auth 6\.2\.31 \(auth-2\) and auth 5\.4\.2 \(auth-1\) ran on it together/);
  }
  await fleet.stop("auth-1", "auth-2");
  for (const name of ["auth-1", "auth-2"]) {
    fleet.launch(name);
    const [refused] = await fleet.diary(name, "refused");
    t.match(refused?.reason, /^backend corrupted/, `${name} does not start again, alone or not`);
    t.equal((await askHost(fleet.host(name))).ready, null);
  }
});

t.test("two auths of one major share a backend, and two of 17 and 18 may", async (t) => {
  const fleet = await SmallFleet.layOut(t, "17.7.0", [cluster("main", { auth: 2 })]);
  await fleet.start("auth-1", "auth-2");
  await fleet.replace("auth-2", "18.1.0");
  await until("18 beside 17", async () => (await askHost(fleet.host("auth-2"))).ready === 200);
  t.equal((await askHost(fleet.host("auth-1"))).ready, 200);
  await fleet.replace("auth-1", "18.1.0");
  await until("both at 18", async () => (await askHost(fleet.host("auth-1"))).ready === 200);
});

t.test("restoring under a running auth shows: it degrades instead of writing into nowhere", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", one());
  await fleet.start("auth-1");
  const backend = fleet.host("auth-1").backend ?? "";
  copyFileSync(backend, `${backend}.restored`);
  renameSync(`${backend}.restored`, backend);
  const said = await until("it to be degraded", async () => {
    const answer = await askHost(fleet.host("auth-1"));
    return answer.ready === 503 && answer;
  });
  t.match(said.why[0], /replaced under the running auth/);
});
