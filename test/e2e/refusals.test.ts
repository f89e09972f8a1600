import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t from "tap";
import { until } from "../support/real-fleet/index.js";
import { buildRelease } from "../support/standin/build-release.js";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test("what is refused leaves nothing behind", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.5.0" }],
  });
  const { api, fleet } = scene;

  await t.test("a second run on the same cluster (I13)", { timeout: PATIENCE_MS }, async (t) => {
    const plan = await scene.plan("5.5.0");
    const { id: first } = await api.start(plan.id);
    t.equal(await refusalOf(api.start(plan.id)), "cluster-busy");
    t.equal(await refusalOf(api.start(plan.id, true)), "cluster-busy", "not even to look");
    await scene.leadToGate(first, "hop-1.main.auth");
    await fleet.belayd.kill();
    fleet.belayd.start();
    await fleet.untilUp();
    t.equal(await refusalOf(api.start(plan.id)), "cluster-busy", "nor after a restart of belayd");
    await api.command(first, "abort");
    await scene.see(first, "its end", ({ status }) => status === "ended");
    await fleet.untilPresent();
    const { id: second } = await api.start(plan.id);
    await scene.leadToGate(second, "hop-1.main.auth");
    await api.command(second, "abort");
    t.same(await scene.started("auth-1"), ["5.4.2"]);
  });

  await t.test("a release that is not what it says", { timeout: PATIENCE_MS }, async (t) => {
    const data = join(fleet.dir, "belayd", "data");
    const treeOf = async () =>
      (await readdir(data, { recursive: true })).filter((path) => !/-(wal|shm)$/.test(path)).sort();
    const before = { tree: await treeOf(), releases: await api.releases() };
    const built = await buildRelease({ version: "5.6.0", out: join(fleet.dir, "later") });
    const name = "teleport-v5.6.0-linux-amd64-bin.tar.gz";
    const good = await readFile(built.file);
    const wrong = Buffer.from(good);
    wrong.writeUInt8(wrong.readUInt8(good.length >> 1) ^ 1, good.length >> 1);
    const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    const garbage = Buffer.from("this is no archive");
    const empty = gzipSync(Buffer.alloc(1024));
    const refusals = {
      "one wrong bit": await refusalOf(api.addRelease(name, built.sha256, wrong)),
      "cut short": await refusalOf(api.addRelease(name, built.sha256, good.subarray(0, -100))),
      "no archive": await refusalOf(api.addRelease(name, digest(garbage), garbage)),
      "an empty archive": await refusalOf(api.addRelease(name, digest(empty), empty)),
      "another version's name": await refusalOf(api.addRelease(name.replace("5.6.0", "5.7.0"), built.sha256, good)),
      "a name that says nothing": await refusalOf(api.addRelease("release.tar.gz", built.sha256, good)),
    };
    t.same(refusals, {
      "one wrong bit": "artifact-digest",
      "cut short": "artifact-digest",
      "no archive": "release-malformed",
      "an empty archive": "release-malformed",
      "another version's name": "release-malformed",
      "a name that says nothing": "release-name",
    });
    t.same({ tree: await treeOf(), releases: await api.releases() }, before, "nothing was left behind");
    t.match(await api.plan({ to: "5.6.0" }), { ok: false, blocked: [{ code: "release-unknown" }] });
    await fleet.publish(built);
    t.match(await api.plan({ to: "5.6.0" }), { ok: true }, "the whole one is welcome");
  });

  await t.test("an agent with another host's token", { timeout: PATIENCE_MS }, async (t) => {
    const agent = scene.agent("node-1");
    await agent.stop();
    const { tokenFile } = scene.host("node-1").agent;
    const own = await readFile(tokenFile, "utf8");
    await writeFile(tokenFile, await readFile(scene.host("auth-1").agent.tokenFile, "utf8"));
    await scene.untilHost("node-1", "is away", ({ present }) => !present);
    agent.start();
    const told = async () => /this identity belongs to auth-1, not to node-1/.test(await agent.log()) || "not told yet";
    await until(told, "the agent says why", 30_000);
    t.notOk((await api.hosts()).find(({ host }) => host === "node-1")?.present, "it doesn't get in");
    t.ok((await api.hosts()).find(({ host }) => host === "auth-1")?.present, "and puts nobody else out");
    await agent.stop();
    await writeFile(tokenFile, own);
    agent.start();
    await fleet.untilPresent();
  });
});
