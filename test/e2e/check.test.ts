import { createHash } from "node:crypto";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join, relative } from "node:path";
import t from "tap";
import type { HostOnDisk } from "../support/fleet-on-disk/index.js";
import { PATIENCE_MS, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test("a check changes nothing anywhere, and says what a run would do", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "auth-2": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "6.1.0" }, { version: "7.1.0" }],
  });
  const { api } = scene;
  const hosts = scene.fleet.layout.hosts;
  const before = await Promise.all(hosts.map(treeOf));
  const plan = await scene.plan("7.1.0");

  const { id: check } = await api.start(plan.id, true);
  const end = await scene.see(check, "its end", ({ status }) => status === "ended");
  t.match(end, { result: "done", check: true, failures: [] }, "a check of a healthy fleet finds nothing wrong");
  t.same(await Promise.all(hosts.map(treeOf)), before, "no host has changed");
  for (const { name } of hosts) t.same(await scene.started(name), ["5.4.2"], `${name} was not restarted`);
  t.same(await api.gates(check, true), [], "nobody was asked");
  const recap = await api.recap(check);
  t.same(recap.hosts.map(({ host }) => host).sort(), ["auth-1", "auth-2", "node-1", "proxy-1"]);
  for (const { host, failed, unreachable, runs, would = [] } of recap.hosts) {
    t.same({ failed, unreachable, runs }, { failed: 0, unreachable: 0, runs: "5.4.2" }, host);
    for (const op of [/^download \d+ bytes/, /^keep \d+ items/, /point .* at 6\.1\.0/]) {
      t.ok(
        would.some((line) => op.test(line)),
        `${host} would ${op}`,
      );
    }
  }
  const stopped = recap.hosts.filter(({ would = [] }) => would.some((line) => line === "stop teleport"));
  t.same(
    stopped.map(({ host }) => host),
    ["auth-2"],
    "one auth would be stopped while the other crosses (I5)",
  );

  const { id: run } = await api.start(plan.id);
  t.equal((await scene.leadToEnd(run)).result, "done", "the same plan, for real");
  await scene.runs(t, { "auth-1": "7.1.0", "auth-2": "7.1.0", "proxy-1": "7.1.0", "node-1": "7.1.0" });
  t.notSame(await Promise.all(hosts.map(treeOf)), before);
});

/** Each path of a host with what it holds, but for the agent's own journal, and what the running service writes by itself. */
async function treeOf(host: HostOnDisk): Promise<Record<string, string>> {
  const alive = /\.log$|-(wal|shm)$|^var\/lib\/belay-agent\/(journal|services)|sqlite\.db$/;
  const tree: Record<string, string> = {};
  const walk = async (dir: string): Promise<void> => {
    for (const name of (await readdir(dir)).sort()) {
      const path = join(dir, name);
      const short = relative(host.dir, path);
      const meta = await lstat(path);
      if (alive.test(short)) continue;
      if (meta.isDirectory()) await walk(path);
      else if (meta.isSymbolicLink()) tree[short] = `-> ${await readlink(path)}`;
      else
        tree[short] = `${meta.mode.toString(8)} ${createHash("sha256")
          .update(await readFile(path))
          .digest("hex")}`;
    }
  };
  await walk(host.dir);
  return tree;
}
