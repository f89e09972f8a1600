import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Banner, silentLogger, systemExec, unmanage } from "@belay/agent";
import type { Entry, OpOf } from "@belay/shared";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";
import { layOut, type Mode, World } from "./support/world.js";
import { xattr } from "./support/xattr.js";

t.setTimeout(300_000);
/** How long a service may take to come up. A busy machine must have brought the old one back by then, too. */
const BUSY_START_MS = 4_000;
const LONG_AGO = new Date("2020-02-20T20:20:20Z");
const skip = whyNoHosts() ?? false;

/** A host on which the service was installed without Belay: its unit starts it by name. */
async function found(
  t: Test,
  options: { below?: string; layout?: "files" | "versions"; fresh?: Mode; elsewhere?: boolean } = {},
): Promise<{ world: SystemdWorld; entry: Entry; swap: (more?: Partial<OpOf<"swap">>) => OpOf<"swap"> }> {
  const { below = "", layout = "files", fresh = "ok", elsewhere = false } = options;
  const shared = await mkdtemp("/var/tmp/belay-swap-");
  const world = await SystemdWorld.boot(t, shared);
  t.teardown(() => rm(shared, { recursive: true, force: true }));
  const inside = elsewhere ? "/usr/local/bin" : join(world.dir, "bin");
  // Where the names lie on another file system than the versions, nothing can be a hard link.
  const bin = elsewhere ? join(world.host.dir, "root", inside) : inside;
  world.directories = elsewhere ? [inside] : [];
  const entry: Entry = { dir: inside, programs: ["svc", "ctl", "gone"], below };
  mkdirSync(bin, { recursive: true });
  const old = layout === "files" ? bin : join(world.versionsDir, "5.0.0", below);
  layOut(old, "5.0.0", "ok", {});
  // One file, as Teleport's are: nothing beside it says what it is.
  const [svc, asking] = [join(old, "svc"), 'JSON.parse(readFileSync(join(here, "VERSION"), "utf8"))'];
  writeFileSync(svc, readFileSync(svc, "utf8").replace(asking, '{ version: "5.0.0" }'));
  writeFileSync(join(old, "ctl"), "#!/bin/sh\necho ctl v5.0.0\n", { mode: 0o755 });
  if (layout === "versions") for (const name of ["svc", "ctl"]) symlinkSync(join(old, name), join(bin, name));
  const target = join(world.versionsDir, "6.0.0", below);
  layOut(target, "6.0.0", fresh, {});
  writeFileSync(join(target, "ctl"), "#!/bin/sh\necho ctl v6.0.0\n", { mode: 0o700 });
  chmodSync(join(old, "svc"), 0o751);
  execFileSync("chown", ["0:33", join(old, "svc")]);
  execFileSync("setcap", ["cap_net_bind_service+ep", join(old, "svc")]);
  xattr(join(old, "svc"), "user.x", "kept");
  utimesSync(join(old, "svc"), LONG_AGO, LONG_AGO);
  await world.unit({ ExecStart: join(inside, "svc") });
  world.controller.probe = { ...world.probe(), entry };
  await world.up();
  return { world, entry, swap: (more = {}) => world.swapOp("5.0.0", "6.0.0", { entry, ...more }) };
}

function attributes(file: string): object {
  const { mode, uid, gid } = lstatSync(file);
  const caps = execFileSync("getcap", [file], { encoding: "utf8" }).trim().split(" ").at(-1);
  return { mode, uid, gid, caps, x: xattr(file, "user.x") };
}

const KEPT = { mode: 0o100751, uid: 0, gid: 33, caps: "cap_net_bind_service=ep", x: "kept" };

t.test("plain files become a version and links; what was given to the program stays with it", { skip }, async (t) => {
  const { world, entry, swap } = await found(t);
  const probe = { ...world.probe(), entry };
  const before = await world.controller.step({ kind: "facts", probe });
  t.match(before, { status: "done", result: { installed: "5.0.0", running: "5.0.0" } }, "the file itself says so");
  t.match(await world.controller.step(swap()), { status: "done", result: { running: "6.0.0" } });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "6.0.0"));
  for (const name of ["svc", "ctl"]) t.equal(readlinkSync(join(entry.dir, name)), join(world.link, name));
  t.notOk(existsSync(join(entry.dir, "gone")), "what wasn't there isn't made");
  t.same(attributes(join(world.versionsDir, "5.0.0", "svc")), KEPT, "the old version's folder holds the very file");
  const fresh = join(world.versionsDir, "6.0.0", "svc");
  t.same(attributes(fresh), KEPT, "and the new version's took it over");
  t.same(statSync(join(world.versionsDir, "5.0.0", "svc")).mtime, LONG_AGO);
  t.not(statSync(fresh).mtime.getTime(), LONG_AGO.getTime(), "but not its age");
  t.equal(statSync(join(world.versionsDir, "6.0.0", "ctl")).mode & 0o777, 0o755);
  t.match(await world.controller.step({ kind: "facts", probe }), { result: { installed: "6.0.0", healthy: true } });

  const back = world.swapOp("6.0.0", "5.0.0", { entry });
  t.match(await world.controller.step(back), { status: "done", result: { running: "5.0.0" } }, "and back again");

  const told = await unmanage("svc", { stateDir: world.stateDir, exec: systemExec, signal: AbortSignal.timeout(9e4) });
  t.match(told, /plain files of 5\.0\.0/);
  t.same(attributes(join(entry.dir, "svc")), KEPT);
  t.notOk(existsSync(world.link));
  await t.rejects(unmanage("svc", { stateDir: world.stateDir, exec: systemExec, signal: AbortSignal.timeout(9e4) }), {
    code: "not-adopted",
  });
});

t.test("a first swap that doesn't hold leaves the host as it was", { skip }, async (t) => {
  for (const layout of ["files", "versions"] as const) {
    await t.test(layout, async (t) => {
      const { world, entry, swap } = await found(t, { fresh: "crash", layout, below: layout === "files" ? "" : "bin" });
      const listing = () =>
        readdirSync(entry.dir)
          .sort()
          .map((name) => [name, lstatSync(join(entry.dir, name)).isFile() || readlinkSync(join(entry.dir, name))]);
      const [names, before] = [listing(), statSync(join(entry.dir, "svc"))];
      const content = readFileSync(join(entry.dir, "svc"));
      t.match(await world.controller.step(swap()), { status: "reverted", error: { code: "service-crashed" } });
      t.same(listing(), names);
      t.same(readFileSync(join(entry.dir, "svc")), content);
      t.equal(statSync(join(entry.dir, "svc")).mtimeMs, before.mtimeMs);
      if (layout === "files") t.same(attributes(join(entry.dir, "svc")), KEPT);
      t.notOk(existsSync(world.link));
      t.same(readdirSync(world.versionsDir), layout === "files" ? ["6.0.0"] : ["5.0.0", "6.0.0"]);
      t.match(await world.host.run(["systemctl", "is-active", "svc.service"]), /^active/);
      t.same(readdirSync(join(world.stateDir, "adopted")), []);
    });
  }
});

t.test(
  "names on another file system: copied with all that belongs to them, and the file itself comes back",
  { skip },
  async (t) => {
    const { world, swap } = await found(t, { elsewhere: true, fresh: "crash" });
    const name = join(world.host.dir, "root/usr/local/bin/svc");
    const ofFile = () => ({ ...attributes(name), mtime: lstatSync(name).mtimeMs, ino: lstatSync(name).ino });
    const was = ofFile();
    t.match(was, KEPT);
    t.match(await world.controller.step(swap()), { status: "reverted", error: { code: "service-crashed" } });
    t.same(ofFile(), was, "the very file, which nobody had to wait for");
    t.same(attributes(join(world.versionsDir, "6.0.0", "svc")), KEPT, "the new version had them too");
  },
);

t.test("a first swap that is cut off anywhere goes on, or leaves the host as it was", { skip }, async (t) => {
  const { world, entry, swap } = await found(t);
  const names = () =>
    entry.programs.slice(0, 2).map((each) => execFileSync(join(entry.dir, each), ["version"]).toString());
  const step = world.controller.id();
  world.controller.send(swap({ settleMs: 3000 }), { step });
  const looks: string[] = [];
  let lives = 0;
  for (const until = Date.now() + 20_000; Date.now() < until && lives < 8; lives += 1) {
    await new Promise((resolve) => setTimeout(resolve, 40 + lives * 35));
    await world.host.run(["pkill", "-KILL", "-f", "belay-agent.js"]).catch(() => "it is gone already");
    looks.push(...names().map((said) => said.trim()));
    world.spawn();
  }
  const { outcome } = await world.controller.outcome(step);
  t.match(outcome, { status: "done", result: { running: "6.0.0" } });
  for (const look of looks) t.match(look, /^(Svc|ctl) v[56]\.0\.0/, "every name led to a whole version");
  for (const name of ["svc", "ctl"]) t.equal(readlinkSync(join(entry.dir, name)), join(world.link, name));
  t.equal(world.startsOf("6.0.0"), 1);
});

t.test("an existing layout of versions is led through the one link", { skip }, async (t) => {
  const { world, entry, swap } = await found(t, { layout: "versions", below: "bin" });
  t.match(await world.controller.step(swap({ how: "reload" })), { status: "done", result: { running: "6.0.0" } });
  t.equal(readlinkSync(join(entry.dir, "svc")), join(world.link, "bin", "svc"));
  t.equal(readlinkSync(world.link), join(world.versionsDir, "6.0.0"));
  t.same(attributes(join(world.versionsDir, "6.0.0", "bin", "svc")), KEPT);
});

t.test("names that Belay did not make, or that disagree, are drift, and nothing is touched", { skip }, async (t) => {
  const { world, entry, swap } = await found(t);
  rmSync(join(entry.dir, "ctl"));
  symlinkSync("/bin/true", join(entry.dir, "ctl"));
  t.match(await world.controller.step(swap()), { status: "failed", error: { code: "drift" } });
  t.notOk(existsSync(world.link));
  t.equal(world.starts().length, 1);
});

t.test("a name that became a file again: undoing its adoption leaves the others their way back", async (t) => {
  const world = await World.make(t);
  const bin = join(world.dir, "bin");
  layOut(bin, "5.0.0", "ok", {});
  world.install("6.0.0");
  world.install("7.0.0", "never-ready");
  world.program = join(bin, "svc");
  await world.start();
  await world.controller.step(world.startOp());
  const entry = { dir: bin, programs: ["svc", "VERSION", "package.json"], below: "" };
  t.match(await world.controller.step(world.swapOp("5.0.0", "6.0.0", { entry })), { status: "done" });
  const name = join(bin, "svc");
  rmSync(name);
  writeFileSync(name, readFileSync(join(world.link, "svc")), { mode: 0o755 });
  const failing = world.swapOp("6.0.0", "7.0.0", { entry, startTimeoutMs: BUSY_START_MS });
  t.match(await world.controller.step(failing), { status: "reverted", error: { code: "unhealthy" } });
  t.ok(lstatSync(name).isFile());
  t.equal(readlinkSync(join(bin, "VERSION")), join(world.link, "VERSION"));
  const told = await unmanage("svc", { stateDir: world.stateDir, exec: systemExec, signal: AbortSignal.timeout(9e4) });
  t.match(told, /VERSION, .*package\.json: plain files of 6\.0\.0/);
});

t.test("what an undoing that was cut off left half removed is in no later one's way", async (t) => {
  const world = await World.make(t);
  const bin = join(world.dir, "bin");
  layOut(bin, "5.0.0", "ok", {});
  world.install("6.0.0", "never-ready");
  const half = join(world.versionsDir, ".belay-5.0.0.removing");
  mkdirSync(half);
  writeFileSync(join(half, "svc"), "half of a version");
  world.program = join(bin, "svc");
  await world.start();
  await world.controller.step(world.startOp());
  const entry = { dir: bin, programs: ["svc", "VERSION", "package.json"], below: "" };
  const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { entry, startTimeoutMs: BUSY_START_MS }));
  t.match(outcome, { status: "reverted", error: { code: "unhealthy" } });
  t.ok(lstatSync(join(bin, "svc")).isFile());
  t.same(readdirSync(world.versionsDir), ["6.0.0"]);
});

t.test("no room for what is installed now: the old version runs on, untouched", async (t) => {
  const world = await World.make(t);
  const small = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "belay-swap-test", world.versionsDir]);
  if (small.status !== 0) {
    t.pass("only root can make a small disk");
    return;
  }
  t.teardown(() => void spawnSync("umount", [world.versionsDir]));
  const bin = join(world.dir, "bin");
  layOut(bin, "5.0.0", "ok", {});
  writeFileSync(join(bin, "ctl"), "x".repeat(100_000), { mode: 0o755 });
  world.install("6.0.0");
  world.program = join(bin, "svc");
  await world.start();
  await world.controller.step(world.startOp());
  const entry = { dir: bin, programs: ["svc", "ctl"], below: "" };
  const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { entry }));
  const message = /versions has \d+ bytes and \d+ inodes free; a copy of the installed 5\.0\.0 needs 10\d+ and/;
  t.match(outcome, { status: "reverted", error: { code: "disk-full", message } });
  t.ok(lstatSync(join(bin, "svc")).isFile());
  t.same(readdirSync(world.versionsDir), ["6.0.0"]);
  t.notOk(existsSync(world.link));
  t.equal(world.starts().length, 1);
});

t.test("a plain file is asked its version, once for each file", async (t) => {
  const dir = await mkdtemp("/tmp/belay-swap-");
  t.teardown(() => rm(dir, { recursive: true }));
  const file = join(dir, "teleport");
  const banner = new Banner();
  const says = (words: string) =>
    writeFileSync(file, `#!/bin/sh\necho asked >> ${dir}/asked\n${words}\n`, { mode: 0o755 });
  says("echo Teleport v6.2.1 git:v6.2.1-0-gabc1234 go1.16.2");
  const host = { exec: systemExec, log: silentLogger };
  utimesSync(file, LONG_AGO, LONG_AGO);
  t.equal(await banner.versionOf(file, host), "6.2.1");
  t.equal(await banner.versionOf(file, host), "6.2.1");
  t.equal(readFileSync(join(dir, "asked"), "utf8"), "asked\n");
  // Unpacked with the times of the one before, and with the number of a file that is gone.
  says("echo Teleport v6.2.2 git:v6.2.2-0-gabc1234 go1.16.2");
  utimesSync(file, LONG_AGO, LONG_AGO);
  t.equal(await banner.versionOf(file, host), "6.2.2");
  says("echo no word of a version here");
  t.equal(await banner.versionOf(file, host), null);
});
