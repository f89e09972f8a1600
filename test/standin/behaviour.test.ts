import { existsSync } from "node:fs";
import t from "tap";
import { askHost, diaryOf, processesOf, startsOf } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";

const alone = (t: Parameters<typeof SmallFleet.layOut>[0]) =>
  SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
const gone = (fleet: SmallFleet) =>
  until("the process to be gone", async () => (await processesOf(fleet.layout.hosts)).length === 0);

t.test("crash-at-start: counted, never answering, no PID file", async (t) => {
  const fleet = await alone(t);
  await fleet.install("auth-1", { version: "5.4.3", behaviour: "crash-at-start" });
  fleet.launch("auth-1");
  t.match(await fleet.diary("auth-1", "crash"), [{ version: "5.4.3" }]);
  await gone(fleet);
  t.equal(existsSync(fleet.host("auth-1").service.pidFile), false);
  t.equal((await startsOf(fleet.layout, "auth-1")).length, 1);
});

t.test("crash-after: starts well, and is gone a moment later", async (t) => {
  const fleet = await alone(t);
  await fleet.install("auth-1", { version: "5.4.3", behaviour: { kind: "crash-after", afterMs: 300 } });
  fleet.launch("auth-1");
  await fleet.diary("auth-1", "crash");
  await gone(fleet);
  const life = await diaryOf(fleet.layout, "auth-1");
  t.same(
    life.map((line) => line.event),
    ["start", "ready", "crash"],
  );
  t.equal(existsSync(fleet.host("auth-1").service.pidFile), true, "with a PID file that leads nowhere now");
});

t.test("never-ready: started, with a PID file, and 400 whatever happens", async (t) => {
  const fleet = await alone(t);
  await fleet.install("auth-1", { version: "5.4.3", behaviour: "never-ready" });
  fleet.launch("auth-1");
  await fleet.diary("auth-1", "ready");
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.3", ready: 400 });
  t.equal(existsSync(fleet.host("auth-1").service.pidFile), true);
});

t.test("migration-fails: refuses half-way, and the backend can't go back without a restore", async (t) => {
  const fleet = await alone(t);
  await fleet.start("auth-1");
  await fleet.replace("auth-1", { version: "6.0.0", behaviour: "migration-fails" });
  const [refused] = await fleet.diary("auth-1", "refused", 1);
  t.match(refused?.reason, /migration from 5\.4\.2 to 6\.0\.0 failed/);
  await fleet.replace("auth-1", "5.4.2");
  const refusals = await fleet.diary("auth-1", "refused", 2);
  t.match(refusals[1]?.reason, /Unsupported upgrade path detected: from 6\.0\.0 to 5\.4\.2/);
  await fleet.install("auth-1", "6.2.31");
  await fleet.start("auth-1");
});

t.test("ignores-hup: nothing happens, and a restart still works", async (t) => {
  const fleet = await alone(t);
  await fleet.install("auth-1", { version: "5.4.3", behaviour: "ignores-hup" });
  await fleet.start("auth-1");
  const [pid = 0] = await processesOf(fleet.layout.hosts);
  process.kill(pid, "SIGHUP");
  process.kill(pid, "SIGUSR1");
  await until("the next signal to be taken", async () => (await askHost(fleet.host("auth-1"))).ready === 200);
  t.same(await processesOf(fleet.layout.hosts), [pid]);
  await fleet.replace("auth-1", "5.4.4");
  await until("5.4.4", async () => (await askHost(fleet.host("auth-1"))).version === "5.4.4");
});

t.test("a behaviour may show on some roles only", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1, node: 1 })]);
  const bad = { version: "5.4.3", behaviour: "crash-at-start", onlyRoles: ["node"] } as const;
  await fleet.install("auth-1", bad);
  await fleet.install("node-1", bad);
  await fleet.start("auth-1");
  fleet.launch("node-1");
  await fleet.diary("node-1", "crash");
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.3", ready: 200 });
});
