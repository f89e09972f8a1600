import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { askHost } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";

/** Waits for a host to answer so, and to give that reason. Times out with a throw, which fails the test. */
async function saying(fleet: SmallFleet, name: string, ready: number, why = /^/): Promise<void> {
  await until(`${name} to answer ${ready} ${why}`, async () => {
    const answer = await askHost(fleet.host(name));
    return answer.ready === ready && why.test(answer.why.join("; "));
  });
}

t.test("a node ahead of auth is degraded, says why, and recovers when auth follows (I1)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1, node: 1 })]);
  await fleet.start("auth-1", "node-1");
  await fleet.replace("node-1", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 503, /refused: node node-1 \(6\.2\.31\) is newer than auth \(5\.4\.2\)/));
  const log = readFileSync(fleet.host("node-1").service.logFile, "utf8");
  t.equal(log.split("[node] ok").length - 1, 1, "it was ready once, at 5.4.2, and never let in since");
  await fleet.replace("auth-1", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 200));
});

t.test("a proxy ahead of auth is degraded too, and a node ahead of a proxy (I1)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1, proxy: 1, node: 1 })]);
  await fleet.start("auth-1", "proxy-1", "node-1");
  await fleet.replace("proxy-1", "6.2.31");
  await t.resolves(saying(fleet, "proxy-1", 503, /newer than auth/));
  await fleet.stop("proxy-1");
  await fleet.install("proxy-1", "5.4.2");
  await fleet.replace("auth-1", "6.2.31");
  await fleet.start("proxy-1");
  await fleet.replace("node-1", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 503, /newer than proxy proxy-1 \(5\.4\.2\)/));
  await fleet.replace("proxy-1", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 200));
});

t.test("a proxy that goes back before its nodes do leaves them refused, connected or not (I1)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "6.2.31", [cluster("main", { auth: 1, proxy: 1, node: 1 })]);
  await fleet.start("auth-1", "proxy-1", "node-1");
  await fleet.replace("proxy-1", "5.4.2");
  await t.resolves(saying(fleet, "node-1", 503, /newer than proxy proxy-1 \(5\.4\.2\)/));
});

t.test("a node left two majors behind is refused (I1)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1, node: 1 })]);
  await fleet.start("auth-1", "node-1");
  await fleet.replace("auth-1", "6.2.31");
  await t.resolves(saying(fleet, "auth-1", 200));
  await t.resolves(saying(fleet, "node-1", 200));
  await fleet.replace("auth-1", "7.1.0");
  await t.resolves(saying(fleet, "node-1", 503, /more than one major behind auth \(7\.1\.0\)/));
});

t.test("losing auth degrades, and coming back recovers, at any of the auth servers", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 2, node: 1 })]);
  fleet.launch("node-1");
  await t.resolves(saying(fleet, "node-1", 400));
  await fleet.start("auth-1", "node-1");
  await fleet.stop("auth-1");
  await t.resolves(saying(fleet, "node-1", 503, /lost the connection to auth/));
  await fleet.start("auth-2");
  await t.resolves(saying(fleet, "node-1", 200));
});

t.test("a corrupted backend takes its members down with it", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 2, node: 1 })]);
  await fleet.start("auth-1", "auth-2", "node-1");
  await fleet.replace("auth-2", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 503, /backend corrupted/));
});

t.test("a leaf ahead of its root is degraded, one that lost its root is not (I2)", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 }), cluster("eu", { auth: 1 }, "main")]);
  await fleet.start("auth-1", "eu-auth-1");
  await fleet.stop("auth-1");
  t.equal((await askHost(fleet.host("eu-auth-1"))).ready, 200);
  await fleet.start("auth-1");
  await fleet.replace("eu-auth-1", "6.2.31");
  await t.resolves(saying(fleet, "eu-auth-1", 503, /leaf cluster eu \(6\.2\.31\) is ahead of its root \(5\.4\.2\)/));
  await fleet.replace("auth-1", "6.2.31");
  await t.resolves(saying(fleet, "eu-auth-1", 200));
  await fleet.replace("auth-1", "7.1.0");
  await t.resolves(saying(fleet, "auth-1", 200));
  t.equal((await askHost(fleet.host("eu-auth-1"))).ready, 200, "one major behind is fine");
  await fleet.replace("auth-1", "8.0.0");
  await t.resolves(saying(fleet, "eu-auth-1", 503, /more than one major behind its root/));
});

t.test("proxies answer ping and find, auth counts its servers, tctl lists them", async (t) => {
  const fleet = await SmallFleet.layOut(t, "6.2.31", [cluster("main", { auth: 1, proxy: 1, node: 2 })]);
  await fleet.start("auth-1", "proxy-1", "node-1", "node-2");
  const { proxy } = fleet.host("proxy-1");
  for (const path of ["ping", "find"]) {
    t.match(await (await fetch(`${proxy}/webapi/${path}`)).json(), {
      server_version: "6.2.31",
      min_client_version: "5.0.0",
      cluster_name: "main",
      edition: "oss",
      fips: false,
      auto_update: { agent_version: "6.2.31" },
    });
  }
  t.equal((await fetch(`${proxy}/nowhere`)).status, 404);
  const { diag, config, install } = fleet.host("auth-1");
  const metrics = await (await fetch(`${diag}/metrics`)).text();
  t.match(metrics, 'teleport_registered_servers{version="6.2.31"} 3');
  t.match(metrics, /^teleport_build_info\{version="6\.2\.31",[^}]*\} 1$/m);

  const tctl = async (...args: string[]) =>
    (await promisify(execFile)(join(install, "current", "tctl"), ["-c", config, ...args])).stdout;
  t.match(await tctl("status"), /Cluster {2}main\nVersion {2}6\.2\.31\n/);
  const instances = JSON.parse(await tctl("inventory", "ls", "--format=json")) as { spec: { hostname: string } }[];
  t.same(
    instances.map((instance) => instance.spec.hostname),
    ["node-1", "node-2", "proxy-1"],
  );
});

t.test("one process may run every role, and others join it", async (t) => {
  const hosts = [
    { name: "all-in-one", roles: ["auth", "proxy", "node"] as const },
    { name: "node-1", roles: ["node"] as const },
  ];
  const fleet = await SmallFleet.layOut(t, "5.4.2", [{ name: "main", hosts }]);
  await fleet.start("all-in-one", "node-1");
  const { proxy } = fleet.host("all-in-one");
  t.match(await (await fetch(`${proxy}/webapi/ping`)).json(), { server_version: "5.4.2", cluster_name: "main" });
  await fleet.replace("all-in-one", "6.2.31");
  await t.resolves(saying(fleet, "all-in-one", 200));
  await t.resolves(saying(fleet, "node-1", 200));
  await fleet.replace("node-1", "6.2.31");
  await t.resolves(saying(fleet, "node-1", 200));
});

t.test("a host keeps its identity, and does not start with half of it", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.start("auth-1");
  await fleet.stop("auth-1");
  await fleet.start("auth-1");
  await fleet.stop("auth-1");
  rmSync(join(fleet.host("auth-1").data, "proc", "sqlite.db"));
  fleet.launch("auth-1");
  const [refused] = await fleet.diary("auth-1", "refused");
  t.match(refused?.reason, /lost its identity/);
});
