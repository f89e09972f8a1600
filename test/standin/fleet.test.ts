import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import {
  askHost,
  diaryOf,
  processesOf,
  readLayout,
  startServices,
  startsOf,
  stopEverything,
  whatRuns,
} from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";

const ROOT_AND_LEAF = [
  cluster("main", { auth: 2, proxy: 2, node: 3 }),
  cluster("eu", { auth: 1, proxy: 1, node: 2 }, "main"),
];

t.test("a root and a leaf are laid out, start, get ready, and stop without a trace", async (t) => {
  const { layout } = await SmallFleet.layOut(t, "5.4.2", ROOT_AND_LEAF);
  await startServices(layout);
  t.same(
    await whatRuns(layout),
    layout.hosts.map((host) => ({ host: host.name, version: "5.4.2", ready: 200, why: [] })),
  );
  await stopEverything(layout);
  t.same(await processesOf(layout.hosts), []);
  for (const host of layout.hosts) {
    const life = (await diaryOf(layout, host.name)).map((line) => line.event);
    t.same(life, ["start", "ready", "stop"], host.name);
  }
  await stopEverything(layout);
});

t.test("in the right order two majors pass, with reloads for all but auth, and nothing breaks", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", ROOT_AND_LEAF);
  const { layout } = fleet;
  await startServices(layout);
  const upgrade = async (clusterName: string, version: string) => {
    const hosts = layout.hosts.filter((host) => host.cluster === clusterName);
    const auths = hosts.filter((host) => host.backend !== null).map((host) => host.name);
    await fleet.stop(...auths);
    for (const name of auths) {
      await fleet.install(name, version);
      await fleet.start(name);
    }
    for (const host of hosts.filter((one) => one.backend === null)) {
      await fleet.install(host.name, version);
      process.kill(Number(readFileSync(host.service.pidFile, "utf8")), "SIGHUP");
      await until(`${host.name} to run ${version}`, async () => {
        const { version: running, ready } = await askHost(host);
        return running === version && ready === 200 && (await processesOf([host])).length === 1;
      });
    }
  };
  for (const version of ["6.2.31", "7.1.0"]) for (const name of ["main", "eu"]) await upgrade(name, version);
  t.same(
    await whatRuns(layout),
    layout.hosts.map((host) => ({ host: host.name, version: "7.1.0", ready: 200, why: [] })),
  );
  for (const host of layout.hosts) {
    t.same(
      (await startsOf(layout, host.name)).map((start) => start.version),
      ["5.4.2", "6.2.31", "7.1.0"],
      host.name,
    );
  }
});

t.test("a host's folder is what an agent and fleet.yaml expect", async (t) => {
  const { layout } = await SmallFleet.layOut(t, "5.4.2", ROOT_AND_LEAF);
  t.match(await readLayout(layout.dir), { version: "5.4.2", hosts: layout.hosts });
  for (const host of layout.hosts) {
    t.equal(readlinkSync(join(host.install, "current")), "versions/5.4.2");
    t.equal(statSync(host.agent.tokenFile).mode & 0o777, 0o600);
    t.equal(readFileSync(host.agent.tokenFile, "utf8"), `${host.agent.token}\n`);
    const agent = parse(readFileSync(host.agent.config, "utf8"));
    t.match(agent, { host: host.name, tokenFile: host.agent.tokenFile, stateDir: host.agent.stateDir });
    t.match(agent.services.teleport, { manager: "process", argv: host.service.argv, pidFile: host.service.pidFile });
    t.equal(host.service.marker, join(agent.stateDir, "teleport"));
  }
  const fleet = parse(readFileSync(layout.fleetFile, "utf8"));
  t.match(fleet, {
    fleet: "acme",
    product: "teleport",
    clusters: [{ name: "main", ha: "shrink" }, { trusts: "main" }],
  });
  t.same(
    fleet.clusters.flatMap((one: { hosts: { vars: unknown }[] }) => one.hosts.map((host) => host.vars)),
    layout.hosts.map((host) => host.vars),
  );
  for (const host of layout.hosts) {
    for (const path of [host.vars.config, host.vars.unit, host.vars.environment])
      t.ok(existsSync(path ?? ""), `${path}`);
    t.equal(host.vars.backend !== undefined, host.roles.includes("auth"));
    t.equal(host.vars.proxy !== undefined, host.roles.includes("proxy"));
  }
});

t.test("fleets laid out side by side share no port", async (t) => {
  const fleets = await Promise.all([1, 2, 3].map(() => SmallFleet.layOut(t, "5.4.2", ROOT_AND_LEAF)));
  const urls = fleets.flatMap(({ layout }) => layout.hosts.flatMap((host) => [host.diag, host.proxy ?? []].flat()));
  t.equal(new Set(urls).size, urls.length);
});

t.test("a host where nothing runs says so", async (t) => {
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  t.same(await askHost(fleet.host("auth-1")), { host: "auth-1", version: null, ready: null, why: [] });
  t.same(await diaryOf(fleet.layout, "auth-1"), []);
});
