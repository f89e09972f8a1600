import { readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { askHost } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";
import { type KeptState, KINDS, type States } from "../support/states/index.js";

t.setTimeout(300_000);
for (const { kind, skip, start } of KINDS) {
  t.test(kind, { skip }, async (t) => rulesHold(t, await start(t)));
}

interface Scene {
  readonly fleet: SmallFleet;
  readonly version: () => Promise<string | null>;
  /** Sequence numbers of its audit events. */
  readonly audit: () => Promise<number[]>;
  readonly formats: () => Promise<number[]>;
  readonly copy: () => ReturnType<KeptState["copy"]>;
}

/** A cluster of so many auths on a fresh state, installed and not started. */
async function scene(t: Test, states: States, auths = 1, installed = "5.4.2"): Promise<Scene> {
  const state = await states.fresh();
  const fleet = await SmallFleet.layOut(t, installed, [
    { ...cluster("main", { auth: auths }), ...(state.server === null ? {} : { state: state.server }) },
  ]);
  const host = fleet.host("auth-1");
  return {
    fleet,
    version: () => state.version(host),
    audit: async () => (await state.audit(host)).map(({ seq }) => seq),
    formats: () => state.formats(host),
    copy: () => state.copy(host),
  };
}

async function degraded(fleet: SmallFleet, name: string): Promise<string> {
  const said = await until(`${name} to be degraded`, async () => {
    const answer = await askHost(fleet.host(name));
    return answer.ready === 503 && answer;
  });
  return said.why[0] ?? "";
}

async function rulesHold(t: Test, states: States): Promise<void> {
  await t.test("auth writes all the time, in one unbroken sequence", async (t) => {
    const { fleet, audit } = await scene(t, states, 2);
    await fleet.start("auth-1", "auth-2");
    await until("ten audit rows", async () => (await audit()).length >= 10);
    await fleet.stop("auth-1", "auth-2");
    const before = (await audit()).length;
    await fleet.start("auth-1");
    const rows = await until("more rows after a restart", async () => {
      const found = await audit();
      return found.length > before && found;
    });
    t.same(
      rows,
      rows.map((_, i) => i + 1),
    );
  });

  await t.test("a new major migrates: 400 and teleport_migrations 1 meanwhile, then ready", async (t) => {
    const { fleet, version, formats } = await scene(t, states);
    await fleet.start("auth-1");
    t.equal(await version(), "5.4.2");
    t.same(await formats(), [5]);
    await fleet.stop("auth-1");
    await fleet.install("auth-1", "6.2.31");
    const { diag } = fleet.host("auth-1");
    fleet.launch("auth-1", { STANDIN_MIGRATION_MS: "1500" });
    const migrations = async () =>
      /^teleport_migrations (\d)$/m.exec(await (await fetch(`${diag}/metrics`)).text())?.[1];
    await until("the migration to show", async () => (await migrations().catch(() => "")) === "1");
    const readyz = await fetch(`${diag}/readyz`);
    t.equal(readyz.status, 400);
    t.match(await readyz.json(), { status: "starting", why: [/migrating the backend from 5\.4\.2 to 6\.2\.31/] });
    t.equal((await fetch(`${diag}/healthz`)).status, 200);
    await until("readiness", async () => (await askHost(fleet.host("auth-1"))).ready === 200);
    t.equal(await migrations(), "0");
    t.equal(await version(), "6.2.31");
    t.same(await formats(), [6]);
  });

  await t.test("a skipped major is refused, and so is an older binary on a migrated backend (I3)", async (t) => {
    const { fleet, version } = await scene(t, states);
    await fleet.start("auth-1");
    await fleet.replace("auth-1", "7.1.0");
    const [skipped] = await fleet.diary("auth-1", "refused", 1);
    t.equal(skipped?.reason, "Unsupported upgrade path detected: from 5.4.2 to 7.1.0");
    t.equal(await version(), "5.4.2", "a refused start leaves no trace");

    await fleet.install("auth-1", "6.2.31");
    await fleet.start("auth-1");
    await fleet.replace("auth-1", "5.4.2");
    const refusals = await fleet.diary("auth-1", "refused", 2);
    t.equal(refusals[1]?.reason, "Unsupported upgrade path detected: from 6.2.31 to 5.4.2");
  });

  await t.test("a migration that was killed is taken up again, never by the old major", async (t) => {
    const { fleet, version, formats } = await scene(t, states);
    await fleet.start("auth-1");
    await fleet.stop("auth-1");
    await fleet.install("auth-1", "6.2.31");
    fleet.launch("auth-1", { STANDIN_MIGRATION_MS: "60000" });
    const [started] = (await fleet.diary("auth-1", "start", 2)).slice(1);
    await until("the migration to begin", async () => (await version()) === "6.2.31");
    process.kill(started?.pid ?? 0, "SIGKILL");
    await fleet.replace("auth-1", "5.4.2");
    await fleet.diary("auth-1", "refused");
    await fleet.install("auth-1", "6.2.31");
    await fleet.start("auth-1");
    t.same(await formats(), [6]);
  });

  await t.test("of two auths that start at a new major together, one migrates and the other waits", async (t) => {
    const { fleet } = await scene(t, states, 2);
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

  await t.test("auths that start together on an empty state fill it once", async (t) => {
    const { fleet, version, formats } = await scene(t, states, 3);
    await fleet.start("auth-1", "auth-2", "auth-3");
    t.equal(await version(), "5.4.2");
    t.same(await formats(), [5]);
  });

  await t.test("two majors of auth at once corrupt the backend for good (I5)", async (t) => {
    const { fleet } = await scene(t, states, 2);
    await fleet.start("auth-1", "auth-2");
    await fleet.replace("auth-2", "6.2.31");
    for (const name of ["auth-1", "auth-2"]) {
      t.match(
        await degraded(fleet, name),
        /backend corrupted: auth 6\.2\.31 \(auth-2\) and auth 5\.4\.2 \(auth-1\) ran on it together/,
      );
    }
    await fleet.stop("auth-1", "auth-2");
    for (const name of ["auth-1", "auth-2"]) {
      fleet.launch(name);
      const [refused] = await fleet.diary(name, "refused");
      t.match(refused?.reason, /^backend corrupted/, `${name} does not start again, alone or not`);
      t.equal((await askHost(fleet.host(name))).ready, null);
    }
  });

  await t.test("two auths of one major share a backend, and two of 17 and 18 may", async (t) => {
    const { fleet } = await scene(t, states, 2, "17.7.0");
    await fleet.start("auth-1", "auth-2");
    await fleet.replace("auth-2", "18.1.0");
    await until("18 beside 17", async () => (await askHost(fleet.host("auth-2"))).ready === 200);
    t.equal((await askHost(fleet.host("auth-1"))).ready, 200);
    await fleet.replace("auth-1", "18.1.0");
    await until("both at 18", async () => (await askHost(fleet.host("auth-1"))).ready === 200);
  });

  await t.test("restoring under a running auth shows: it degrades instead of going on", async (t) => {
    const { fleet, audit, copy } = await scene(t, states);
    await fleet.start("auth-1");
    const restore = await copy();
    const known = (await audit()).length;
    await until("it to write more", async () => (await audit()).length > known + 20);
    await restore();
    t.match(await degraded(fleet, "auth-1"), /replaced under the running auth/);
  });
}
