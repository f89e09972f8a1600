import { readFile, writeFile } from "node:fs/promises";
import t from "tap";
import { parse, stringify } from "yaml";
import { PATIENCE_MS, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

interface DeclaredHost {
  readonly name: string;
  readonly vars: Readonly<Record<string, string>>;
}
interface Declared {
  readonly clusters: readonly { readonly hosts: readonly DeclaredHost[] }[];
}

t.test("an edit of fleet.yaml reaches agents that are connected already", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }],
  });
  const { fleetFile } = scene.fleet.layout;
  const whole = await readFile(fleetFile, "utf8");
  const declare = async (change: (host: DeclaredHost) => readonly DeclaredHost[]) => {
    const fleet = parse(whole) as Declared;
    const clusters = fleet.clusters.map((cluster) => ({ ...cluster, hosts: cluster.hosts.flatMap(change) }));
    await writeFile(fleetFile, stringify({ ...fleet, clusters }));
  };

  // A host that joins before somebody declares it.
  await declare((host) => (host.name === "node-1" ? [] : [host]));
  await scene.untilHost("node-1", "not declared", ({ declared }) => !declared);
  await scene.agent("node-1").kill();
  await scene.untilHost("node-1", "away", ({ present }) => !present);
  scene.agent("node-1").start();
  await scene.untilHost("node-1", "here, and nobody asks it anything", ({ present }) => present);
  const declaredAt = Date.now();
  await writeFile(fleetFile, whole);
  await scene.untilHost("node-1", "looked at", ({ facts }) => facts !== null && facts.at > declaredAt);

  // A variable of what agents look at, and back.
  const elsewhere = { diag: "http://127.0.0.1:1" };
  await declare((host) => [host.name === "node-1" ? { ...host, vars: { ...host.vars, ...elsewhere } } : host]);
  await scene.untilHost("node-1", "unwell by what is looked at now", ({ facts }) => facts?.healthy === false);
  await writeFile(fleetFile, whole);
  await scene.untilHost("node-1", "well again", ({ facts }) => facts?.healthy === true);

  const run = await scene.start("5.5.0");
  t.equal((await scene.leadToEnd(run)).result, "done", "and an upgrade goes its way");
  const connections = (await scene.fleet.belayd.log()).match(/agent connected/g) ?? [];
  t.equal(connections.length, 2 + 4, "only whom it concerns was asked to come again");
});
