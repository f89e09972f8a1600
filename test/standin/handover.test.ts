import { readFileSync } from "node:fs";
import t from "tap";
import { askHost, diaryOf, processesOf, startsOf } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";

const pidIn = (fleet: SmallFleet, name: string) => Number(readFileSync(fleet.host(name).service.pidFile, "utf8"));

/** Waits until a fork of the host's service has taken over, and its parent is gone. */
async function handedOver(fleet: SmallFleet, name: string, parent: number): Promise<number> {
  await fleet.diary(name, "stop");
  return until("one process to be left", async () => {
    const pids = await processesOf([fleet.host(name)]);
    return pids.length === 1 && pids[0] !== parent ? (pids[0] ?? null) : null;
  });
}

t.test("HUP hands over to what the link leads to now, with no request refused on the way", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1, proxy: 1 })]);
  await fleet.start("auth-1", "proxy-1");
  await fleet.install("proxy-1", "5.4.3");
  const { diag, proxy } = fleet.host("proxy-1");
  const parent = pidIn(fleet, "proxy-1");
  const answers: number[] = [];
  let over = false;
  const knocking = (async () => {
    while (!over) {
      for (const url of [`${diag}/readyz`, `${proxy}/webapi/ping`]) answers.push((await fetch(url)).status);
    }
  })();
  process.kill(parent, "SIGHUP");
  const child = await handedOver(fleet, "proxy-1", parent);
  over = true;
  await t.resolves(knocking, "every request got an answer");
  t.ok(answers.length > 0);
  t.same(new Set(answers), new Set([200]));
  t.equal(pidIn(fleet, "proxy-1"), child);
  t.match(await askHost(fleet.host("proxy-1")), { version: "5.4.3", ready: 200 });
  const metrics = await (await fetch(`${fleet.host("auth-1").diag}/metrics`)).text();
  t.match(
    metrics,
    'teleport_registered_servers{version="5.4.3"} 1',
    "the parent's goodbye did not unlist its successor",
  );
  t.match(await startsOf(fleet.layout, "proxy-1"), [
    { version: "5.4.2", pid: parent, reason: "start" },
    { version: "5.4.3", pid: child, reason: "fork" },
  ]);
});

t.test("a fork can hand over in its turn", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  for (let turn = 1; turn <= 2; turn++) {
    process.kill(pidIn(fleet, "auth-1"), "SIGHUP");
    await fleet.diary("auth-1", "stop", turn);
  }
  await until("the grandchild to be alone", async () => (await processesOf(fleet.layout.hosts)).length === 1);
  t.equal((await askHost(fleet.host("auth-1"))).ready, 200);
  t.equal((await startsOf(fleet.layout, "auth-1")).length, 3);
});

t.test("a fork that dies at its start leaves its parent serving", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  const parent = pidIn(fleet, "auth-1");
  await fleet.install("auth-1", { version: "5.4.3", behaviour: "crash-at-start" });
  process.kill(parent, "SIGHUP");
  await fleet.diary("auth-1", "crash");
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.2", ready: 200 });
  t.equal(pidIn(fleet, "auth-1"), parent);

  await fleet.install("auth-1", "5.4.4");
  process.kill(parent, "SIGHUP");
  await handedOver(fleet, "auth-1", parent);
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.4", ready: 200 }, "and the next HUP works");
});

t.test("a HUP that comes while a fork is under way is taken up after it", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  const parent = pidIn(fleet, "auth-1");
  await fleet.install("auth-1", { version: "5.4.3", behaviour: "crash-at-start" });
  process.kill(parent, "SIGHUP");
  await until("the fork to be there", async () => (await processesOf(fleet.layout.hosts)).length === 2);
  process.kill(parent, "SIGHUP");
  t.equal((await fleet.diary("auth-1", "crash", 2)).length, 2);
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.2", ready: 200 });
});

t.test("an auth that is reloaded across majors corrupts its own backend (I5)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  await fleet.install("auth-1", "6.2.31");
  process.kill(pidIn(fleet, "auth-1"), "SIGHUP");
  const said = await until("it to be degraded", async () => {
    const answer = await askHost(fleet.host("auth-1"));
    return answer.version === "6.2.31" && answer.ready === 503 && answer;
  });
  t.match(said.why[0], /backend corrupted/);
});

t.test("USR2 forks and stays; QUIT drains; USR1 tells the log", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  const parent = pidIn(fleet, "auth-1");
  process.kill(parent, "SIGUSR2");
  await until("the fork to have started", () => pidIn(fleet, "auth-1") !== parent);
  t.equal((await processesOf(fleet.layout.hosts)).length, 2);
  process.kill(parent, "SIGQUIT");
  await handedOver(fleet, "auth-1", parent);
  process.kill(pidIn(fleet, "auth-1"), "SIGUSR1");
  await until("diagnostics in the log", () =>
    readFileSync(fleet.host("auth-1").service.logFile, "utf8").includes('{"status":"ok","why":[]}'),
  );
  t.same(
    (await diaryOf(fleet.layout, "auth-1")).filter((line) => line.event === "stop").map((line) => line.reason),
    ["SIGQUIT"],
  );
});
