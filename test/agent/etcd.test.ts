import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupResult, Op } from "@belay/shared";
import t, { type Test } from "tap";
import { whyNoEtcd } from "../support/servers/etcd.js";
import { everythingIn, flipByte } from "./support/backups.js";
import { EtcdBackend } from "./support/etcd-backend.js";
import { World } from "./support/world.js";

t.setTimeout(600_000);
const real = { skip: whyNoEtcd() };
const SECRET = "correct-horse-battery";

async function scene(t: Test, options: { tls?: boolean; more?: string; prefix?: string } = {}) {
  const etcd = await EtcdBackend.start(t, options);
  const world = await World.make(t);
  writeFileSync(join(world.dir, "password"), `${SECRET}\n`, { mode: 0o600 });
  const more = options.more?.replace("DIR", world.dir) ?? "";
  world.more = `backends: { state: ${etcd.config(options.prefix ?? "/teleport/", more)} }`;
  await world.start();
  const dir = join(world.dir, "backups");
  const items = [{ kind: "backend" as const, backend: "state" }];
  const backup: Op = { kind: "backup", spec: { id: "b1", dir, items, version: "5.0.0" } };
  const verify: Op = { kind: "verify-backup", id: "b1", dir };
  const restore: Op = { kind: "restore", id: "b1", dir, service: "svc" };
  return { etcd, world, dir, backup, verify, restore, snapshot: join(dir, "b1", "0-state") };
}

t.test("a prefix comes back as it was, and what is beside it stays as it is (I4)", real, async (t) => {
  const { etcd, world, dir, backup, verify, restore } = await scene(t, { tls: true });
  for (let n = 0; n < 20; n += 1) etcd.put(`/teleport/item-${String(n).padStart(2, "0")}`, `value ${n}`);
  const binary = Buffer.from(Array.from({ length: 512 }, (_, n) => n % 256));
  etcd.put("/teleport/binary", binary);
  etcd.put("/teleport/empty", "");
  etcd.put("/other/key", "old");
  const before = etcd.all("/teleport/");
  t.equal(before["/teleport/binary"], binary.toString("base64"));
  t.match(await world.controller.step(backup), {
    status: "done",
    changed: true,
    result: { items: 1, verified: true },
  });
  t.match(JSON.parse(readFileSync(join(dir, "b1", "manifest.json"), "utf8")), {
    host: "host-1",
    agentVersion: /^\d/,
    items: [
      {
        kind: "backend",
        backend: "state",
        engine: "etcd",
        from: `${etcd.url} prefix /teleport/`,
        tool: /^etcdctl 3\./,
        facts: { keys: 22, verifiedBy: "opened by etcd" },
      },
    ],
  });

  etcd.put("/teleport/item-03", "new");
  etcd.put("/teleport/item-99", "added by the new version");
  etcd.put("/teleport/empty", "no more");
  etcd.ctl(["del", "/teleport/binary"]);
  etcd.put("/other/key", "new");
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.match(await world.controller.step(restore), { status: "done", changed: true });
  t.same(etcd.all("/teleport/"), before);
  t.same(etcd.all("/other/"), { "/other/key": Buffer.from("new").toString("base64") }, "not ours");
  t.match(await world.controller.step(restore), { status: "done" }, "repeated, it does no harm");
  t.same(etcd.all("/teleport/"), before);
  t.same(readdirSync(dir), ["b1"], "the snapshot's own server and its folder are gone");
});

t.test("a prefix that another one begins with: that one's keys are neither kept nor touched", real, async (t) => {
  const { etcd, world, dir, backup, verify, restore } = await scene(t, { prefix: "/teleport" });
  etcd.put("/teleport/a", "1");
  etcd.put("/teleport-eu/a", "1");
  t.match(await world.controller.step(backup), { status: "done", result: { verified: true } });
  t.match(JSON.parse(readFileSync(join(dir, "b1", "manifest.json"), "utf8")), { items: [{ facts: { keys: 1 } }] });
  etcd.put("/teleport/a", "2");
  // The other one runs on all the while.
  etcd.put("/teleport-eu/a", "2");
  etcd.put("/teleport-eu/b", "new");
  const other = etcd.all("/teleport-eu/");
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.match(await world.controller.step(restore), { status: "done", changed: true });
  t.same(etcd.all("/teleport/"), { "/teleport/a": Buffer.from("1").toString("base64") });
  t.same(etcd.all("/teleport-eu/"), other, "not ours");
  await world.stop();
  world.more = `backends: { state: ${etcd.config("/tele")} }`;
  await world.start();
  const another = { ...backup, spec: { ...spec(backup), id: "b2" } } as Op;
  t.match(await world.controller.step(another), { status: "failed", error: { code: "backup-empty" } });
});

t.test("what had a lease has one again, for no longer than it could have lived", real, async (t) => {
  const { etcd, world, dir, backup, restore } = await scene(t);
  const lease = (seconds: number) => /lease ([0-9a-f]+)/.exec(etcd.ctl(["lease", "grant", String(seconds)]))?.[1] ?? "";
  const [hour, minutes] = [lease(3600), lease(120)];
  etcd.put("/teleport/stays", "x");
  etcd.ctl(["put", `--lease=${hour}`, "/teleport/heartbeat", "x"]);
  etcd.ctl(["put", `--lease=${minutes}`, "/teleport/token", "x"]);
  t.match(await world.controller.step(backup), { status: "done" });
  etcd.ctl(["del", "--prefix", "/teleport/"]);
  // Ten minutes later, as the manifest tells it.
  const manifest = join(dir, "b1", "manifest.json");
  const told = JSON.parse(readFileSync(manifest, "utf8")) as { takenAt: number };
  writeFileSync(manifest, JSON.stringify({ ...told, takenAt: told.takenAt - 600_000 }));
  t.match(await world.controller.step(restore), { status: "done" });
  t.same(Object.keys(etcd.all("/teleport/")), ["/teleport/heartbeat", "/teleport/stays"], "the token is over");
  const { kvs } = JSON.parse(etcd.ctl(["get", "/teleport/heartbeat", "-w", "json"])) as { kvs: { lease: bigint }[] };
  t.ok(kvs[0]?.lease);
  const leases = etcd.ctl(["lease", "list"]).trim().split("\n").slice(1);
  const times = leases
    .map((id) => etcd.ctl(["lease", "timetolive", id, "--keys"]))
    .filter((said) => said.includes("heartbeat"));
  const granted = Number(/granted with TTL\((\d+)s/.exec(times[0] ?? "")?.[1]);
  t.ok(granted > 2900 && granted <= 3000, `${granted} seconds`);
});

t.test("users and passwords: used, and said nowhere", real, async (t) => {
  const { etcd, world, dir, backup, restore } = await scene(t, { more: ", user: root, passwordFile: DIR/password" });
  etcd.put("/teleport/a", "1");
  etcd.ctl(["user", "add", `root:${SECRET}`]);
  etcd.ctl(["user", "grant-role", "root", "root"]);
  etcd.ctl(["auth", "enable"]);
  const user = `root:${SECRET}`;
  t.match(await world.controller.step(backup), { status: "done" });
  etcd.ctl(["put", "/teleport/a", "2"], { user });
  t.match(await world.controller.step(restore), { status: "done" });
  t.same(etcd.all("/teleport/", user), { "/teleport/a": Buffer.from("1").toString("base64") });
  writeFileSync(join(world.dir, "password"), `wrong-${SECRET}\n`);
  t.match(await world.controller.step({ ...backup, spec: { ...spec(backup), id: "b2" } } as Op), {
    status: "failed",
    error: { code: /etcd-failed|backend-unreachable/ },
  });
  t.match(await world.controller.step(restore), { status: "failed" });
  t.notMatch(JSON.stringify(world.controller.told), SECRET);
  t.notMatch(everythingIn(world.stateDir), SECRET, "journal");
  t.notMatch(readFileSync(join(dir, "b1", "manifest.json"), "utf8"), SECRET);
});

t.test("a password, and a user, of another time than the snapshot's", real, async (t) => {
  const { etcd, world, dir, backup, verify, restore } = await scene(t, {
    more: ", user: belay, passwordFile: DIR/password",
  });
  etcd.put("/teleport/a", "1");
  for (const user of ["root", "belay"]) {
    etcd.ctl(["user", "add", `${user}:${SECRET}`]);
    etcd.ctl(["user", "grant-role", user, "root"]);
  }
  etcd.ctl(["auth", "enable"]);
  const user = `root:${SECRET}`;
  t.match(await world.controller.step(backup), { status: "done", result: { verified: true } });
  const snapshots = readdirSync(dir);
  etcd.ctl(["put", "/teleport/a", "2"], { user });
  const passwd = (who: string, password: string) =>
    etcd.ctl(["user", "passwd", who, "--interactive=false"], { user, input: `${password}\n` });
  passwd("belay", `new-${SECRET}`);
  writeFileSync(join(world.dir, "password"), `new-${SECRET}\n`);
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.match(await world.controller.step(restore), { status: "done", changed: true });
  t.same(etcd.all("/teleport/", user), { "/teleport/a": Buffer.from("1").toString("base64") });
  etcd.ctl(["put", "/teleport/a", "3"], { user });
  const other = `${user}-2`;
  etcd.ctl(["user", "add", `another:${SECRET}-2`], { user });
  etcd.ctl(["user", "grant-role", "another", "root"], { user });
  etcd.ctl(["user", "delete", "belay"], { user });
  await world.stop();
  writeFileSync(join(world.dir, "password"), `${SECRET}-2\n`);
  world.more = world.more.replace("user: belay", "user: another");
  await world.start();
  t.match(
    await world.controller.step(restore),
    { status: "done", changed: true },
    "a user whom the snapshot doesn't know",
  );
  t.same(etcd.all("/teleport/", other.replace("root", "another")), {
    "/teleport/a": Buffer.from("1").toString("base64"),
  });
  t.same(readdirSync(dir), snapshots);
  t.notMatch(JSON.stringify(world.controller.told), SECRET);
});

/** Programs that come before the machine's own until the test ends. */
function programsFirst(t: Test, programs: Record<string, string>): void {
  const bin = t.testdir();
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const before = process.env.PATH;
  process.env.PATH = `${bin}:${before}`;
  t.teardown(() => {
    process.env.PATH = before;
  });
}

for (const [what, programs] of Object.entries({
  "its own etcd ends": { etcd: 'test "$1" = --version || { echo no memory >&2; exit 1; }' },
  "its own etcd is killed": { etcd: 'test "$1" = --version || kill -KILL $$' },
  "etcdctl is killed": { etcdctl: `test "$2" != restore || kill -KILL $$; PATH=\${PATH#*:} exec etcdctl "$@"` },
})) {
  t.test(`a snapshot that can't be opened now is no bad one: ${what}`, real, async (t) => {
    const { etcd, world, dir, backup, verify, restore } = await scene(t);
    etcd.put("/teleport/a", "1");
    t.match(await world.controller.step(backup), { status: "done" });
    etcd.put("/teleport/a", "2");
    await t.test("meanwhile", async (t) => {
      programsFirst(t, programs);
      for (const op of [verify, restore]) {
        const outcome = await world.controller.step(op);
        t.match(outcome, { status: "failed", retryable: true, error: { code: "snapshot-not-opened" } });
      }
    });
    t.same(etcd.all("/teleport/"), { "/teleport/a": Buffer.from("2").toString("base64") });
    t.match(await world.controller.step(restore), { status: "done" }, "and later it can");
    t.same(etcd.all("/teleport/"), { "/teleport/a": Buffer.from("1").toString("base64") });
    t.same(readdirSync(dir), ["b1"]);
  });
}

t.test("a host without etcd's server: what can be read of a snapshot is, and it can't be put back", real, async (t) => {
  const { etcd, world, dir, backup, restore } = await scene(t);
  etcd.put("/teleport/a", "1");
  const [etcdctl, bin] = [execFileSync("sh", ["-c", "command -v etcdctl"], { encoding: "utf8" }).trim(), t.testdir()];
  symlinkSync(etcdctl, join(bin, "etcdctl"));
  const before = process.env.PATH;
  process.env.PATH = bin;
  const [kept, put] = [await world.controller.step(backup), await world.controller.step(restore)];
  process.env.PATH = before;
  t.match(kept, { status: "done" });
  const facts = { verifiedBy: "etcdctl snapshot status only" };
  t.match(JSON.parse(readFileSync(join(dir, "b1", "manifest.json"), "utf8")), { items: [{ facts }] });
  t.match(put, { status: "failed", retryable: false, error: { code: "tool-missing", hint: /etcd-server/ } });
});

t.test("a snapshot that changed by one byte is refused, and a restore of it touches nothing", real, async (t) => {
  const { etcd, world, dir, backup, verify, restore, snapshot } = await scene(t);
  etcd.put("/teleport/a", "1");
  await world.controller.step(backup);
  etcd.put("/teleport/a", "2");
  flipByte(snapshot, 9000);
  for (const op of [verify, restore]) {
    t.match(await world.controller.step(op), { status: "failed", retryable: false, error: { code: "backup-corrupt" } });
  }
  t.same(etcd.all("/teleport/"), { "/teleport/a": Buffer.from("2").toString("base64") });
  t.notOk(existsSync(join(dir, ".belay-etcd")));
});

t.test("a digest made to fit doesn't help a damaged snapshot: etcd itself reads it", real, async (t) => {
  const { etcd, world, dir, backup, verify, snapshot } = await scene(t);
  etcd.put("/teleport/a", "1");
  await world.controller.step(backup);
  flipByte(snapshot, readFileSync(snapshot).length - 5);
  const { createHash } = await import("node:crypto");
  const manifest = join(dir, "b1", "manifest.json");
  const told = JSON.parse(readFileSync(manifest, "utf8"));
  told.items[0].sha256 = createHash("sha256").update(readFileSync(snapshot)).digest("hex");
  writeFileSync(manifest, JSON.stringify(told));
  t.match(await world.controller.step(verify), {
    status: "failed",
    error: { code: "backup-corrupt", message: /sha256|hash/ },
  });
});

t.test("nothing to keep, and nobody there", real, async (t) => {
  const { etcd, world, backup, dir } = await scene(t, { prefix: "/misspelt/" });
  etcd.put("/teleport/a", "1");
  t.match(await world.controller.step(backup), { status: "failed", retryable: false, error: { code: "backup-empty" } });
  t.same(readdirSync(dir), []);
  await world.stop();
  world.more = 'backends: { state: { kind: etcd, endpoints: ["http://127.0.0.1:9"], prefix: /teleport } }';
  await world.start();
  t.match(await world.controller.step(backup), {
    status: "failed",
    retryable: true,
    error: { code: "backend-unreachable" },
  });
});

t.test("a snapshot's own server that outlived a killed agent is ended and swept by the next", real, async (t) => {
  const { etcd, world, dir, backup, verify } = await scene(t);
  etcd.put("/teleport/a", "1");
  await world.controller.step(backup);
  const left = join(dir, ".belay-etcd");
  mkdirSync(left);
  const urls = ["--listen-client-urls=unix://client:0", "--listen-peer-urls=unix://peer:0"];
  const nowhere = ["--advertise-client-urls=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"];
  const argv = ["--data-dir=data", "--initial-cluster=default=http://127.0.0.1:1", ...urls, ...nowhere];
  const stale = spawn("etcd", argv, { cwd: left, stdio: "ignore" });
  t.teardown(() => void stale.kill("SIGKILL"));
  const ended = once(stale, "exit");
  await once(stale, "spawn");
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.same(await ended, [null, "SIGKILL"]);
  t.same(readdirSync(dir), ["b1"]);
});

t.test("100,000 keys", real, async (t) => {
  const { etcd, world, dir, backup, restore } = await scene(t);
  world.controller.patienceMs = 120_000;
  const keys = function* (from: number, to: number, value: string) {
    for (let n = from; n < to; n += 1) yield [`/teleport/${n}`, `${value} ${n}`] as const;
  };
  await etcd.fill(keys(0, 100_000, "first"));
  const count = () =>
    JSON.parse(etcd.ctl(["get", "--prefix", "/teleport/", "--keys-only", "--limit=1", "-w", "json"])).count;
  t.equal(count(), 100_000);
  const kept = (await world.controller.step(backup)) as { status: string; result: BackupResult };
  t.equal(kept.status, "done");
  await etcd.fill(keys(50_000, 55_000, "second"));
  await etcd.fill(keys(100_000, 101_000, "added"));
  etcd.ctl(["del", "--prefix", "/teleport/9"]);
  t.match(await world.controller.step(restore, { deadlineMs: 1500 }), {
    status: "failed",
    retryable: true,
    error: { code: "deadline-exceeded" },
  });
  t.notOk(existsSync(join(dir, ".belay-etcd")), "whatever happens, the snapshot's own server is gone");
  t.match(await world.controller.step(restore), { status: "done" });
  t.equal(count(), 100_000);
  const all = Object.entries(etcd.all("/teleport/"));
  const wrong = all.filter(
    ([key, value]) => Buffer.from(value, "base64").toString() !== `first ${key.slice("/teleport/".length)}`,
  );
  t.same(wrong, []);
});

function spec(op: Op) {
  return op.kind === "backup" ? op.spec : {};
}
