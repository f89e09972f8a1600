import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Exec, systemExec } from "@belay/agent";
import type { BackupItem, BackupResult, Op, OpOf, Outcome, StoredCopy } from "@belay/shared";
import t, { type Test } from "tap";
import { until } from "../support/real-fleet/until.js";
import { whyNoEtcd } from "../support/servers/etcd.js";
import { DatabaseSync } from "./support/database.js";
import { EtcdBackend } from "./support/etcd-backend.js";
import { LACKS, type Lack, noSmallDisks, SmallDisk } from "./support/small-disk.js";
import { layOut, World } from "./support/world.js";

/** For what takes a moment on a quiet machine. */
const A_MINUTE_MS = 60_000;

/** Real processes on shared cores. */
t.setTimeout(300_000);
const real = { skip: noSmallDisks };
const LARGE_BYTES = 1_000_000;

/** A failure that names the disk, and what it lacks. */
const fullAt = (path: string, how: RegExp = / bytes and \d+ inodes /) => ({
  status: "failed",
  retryable: true,
  error: { code: "disk-full", message: new RegExp(`${path}.*${how.source}`), hint: String },
});

/** A host with a backup of three files, a database with an open log among them, each of which has changed since. */
async function changed(t: Test) {
  const world = await World.make(t);
  const disk = SmallDisk.mount(t, world.home);
  const dir = join(world.dir, "backups");
  const config = join(world.home, "svc.yaml");
  const large = join(world.home, "large");
  const database = join(world.home, "backend.db");
  writeFileSync(config, "old");
  writeFileSync(large, Buffer.alloc(LARGE_BYTES, "old"));
  const writer = new DatabaseSync(database);
  writer.exec("PRAGMA journal_mode=WAL; CREATE TABLE kv (v TEXT); INSERT INTO kv VALUES ('old')");
  t.teardown(async () => writer.close());
  const items: BackupItem[] = [
    { kind: "file", path: config, optional: false },
    { kind: "sqlite", path: database, optional: false },
    { kind: "file", path: large, optional: false },
  ];
  await world.start();
  const kept = await world.controller.step({ kind: "backup", spec: { id: "b1", dir, items, version: "5.0.0" } });
  t.match(kept, { status: "done", result: { verified: true } });
  writeFileSync(config, "new");
  writeFileSync(large, Buffer.alloc(LARGE_BYTES + 1, "new"));
  writer.exec("INSERT INTO kv VALUES ('new')");
  const restore: Op = { kind: "restore", id: "b1", dir, service: "svc" };
  return { world, disk, dir, config, large, database, restore };
}

/** Name and content of every file of a folder, the disk's ballast apart. */
function contentsOf(dir: string): Record<string, string> {
  const names = readdirSync(dir).filter((name) => name !== ".ballast");
  return Object.fromEntries(
    names.sort().map((name) => {
      const path = join(dir, name);
      return [name, lstatSync(path).isFile() ? createHash("sha256").update(readFileSync(path)).digest("hex") : "other"];
    }),
  );
}

for (const lack of LACKS) {
  t.test(`restore, no ${lack}: all is as it was, and with room it is put back (I10)`, real, async (t) => {
    const { world, disk, config, large, database, restore } = await changed(t);
    const before = contentsOf(world.home);
    // Room for the small files, and not for all of them.
    disk.fill(lack, lack === "bytes" ? 64 * 1024 : 2);
    for (const check of [true, false]) {
      const outcome = await world.controller.step(restore, { check });
      t.match(outcome, fullAt(world.home, / bytes and \d+ inodes free; putting backup b1 back needs \d+ and 6/));
      t.same(contentsOf(world.home), before);
    }
    disk.empty();
    t.match(await world.controller.step(restore), { status: "done", result: { verified: true } });
    t.equal(readFileSync(config, "utf8"), "old");
    t.ok(readFileSync(large).equals(Buffer.alloc(LARGE_BYTES, "old")));
    const back = new DatabaseSync(database);
    t.same(back.rows("SELECT v FROM kv"), [{ v: "old" }]);
    back.close();
  });
}

for (const lack of LACKS) {
  t.test(`backup, no ${lack} beside a database in WAL mode: it says so, and where`, real, async (t) => {
    const world = await World.make(t);
    const disk = SmallDisk.mount(t, world.home);
    const path = join(world.home, "backend.db");
    const writer = new DatabaseSync(path);
    writer.exec("PRAGMA journal_mode=WAL; CREATE TABLE kv (v TEXT); INSERT INTO kv VALUES ('old')");
    writer.close();
    await world.start();
    const items: BackupItem[] = [{ kind: "sqlite", path, optional: false }];
    const backup: Op = { kind: "backup", spec: { id: "b1", dir: join(world.dir, "backups"), items, version: "5.0.0" } };
    disk.fill(lack);
    t.match(await world.controller.step(backup), fullAt(world.home, / while opening .*backend\.db/));
    disk.empty();
    t.match(await world.controller.step(backup), { status: "done", result: { verified: true } });
  });
}

t.test(
  "a disk that a command of the owner's fills up in the middle of a backup: half a backup is none",
  real,
  async (t) => {
    const world = await World.make(t);
    const disk = SmallDisk.mount(t, join(world.dir, "backups"));
    const database = join(world.home, "backend.db");
    const writer = new DatabaseSync(database);
    writer.exec("CREATE TABLE kv (v BLOB); INSERT INTO kv VALUES (zeroblob(1000000))");
    writer.close();
    const greedy = join(world.dir, "greedy");
    const size = join(world.dir, "size");
    writeFileSync(greedy, `#!/bin/sh\nhead -c "$(cat ${size})" /dev/zero > "$1"\n`, { mode: 0o755 });
    world.commands = `{ dump: [${greedy}], load: [/bin/true] }`;
    await world.start();
    const items: BackupItem[] = [
      { kind: "command", command: "dump", restore: "load" },
      { kind: "sqlite", path: database, optional: false },
    ];
    const backup: Op = { kind: "backup", spec: { id: "b1", dir: disk.at, items, version: "5.0.0" } };
    writeFileSync(size, "3500000");
    t.match(await world.controller.step(backup), fullAt(disk.at, /while copying .*backend\.db/));
    t.same(readdirSync(disk.at), []);
    writeFileSync(size, "1000000");
    t.match(await world.controller.step(backup), { status: "done", result: { verified: true } });
  },
);

t.test("a disk that fills up in the middle of putting a snapshot back: no file of it is half back", real, async (t) => {
  for (const lack of LACKS) {
    await t.test(lack, async (t) => {
      const world = await World.make(t);
      const disk = SmallDisk.mount(t, join(world.dir, "small"));
      const [config, large] = [join(disk.at, "svc.yaml"), join(disk.at, "large")];
      writeFileSync(config, "old");
      writeFileSync(large, Buffer.alloc(LARGE_BYTES, "old"));
      world.install("5.0.0");
      world.install("6.0.0", "never-ready");
      world.linkTo("5.0.0");
      await world.start();
      await world.controller.step(world.startOp());
      const dir = join(world.dir, "backups");
      const items = [config, large].map((path) => ({ kind: "file" as const, path, optional: false }));
      const snapshot = { id: "snap", dir, version: "5.0.0", items };
      const step = world.controller.id();
      world.controller.send(world.swapOp("5.0.0", "6.0.0", { snapshot, startTimeoutMs: 10_000 }), { step });
      await until(async () => world.startsOf("6.0.0") === 1, "the new version is started", A_MINUTE_MS);
      // As the new version might, before it fails.
      writeFileSync(config, "new");
      writeFileSync(large, Buffer.alloc(LARGE_BYTES, "new"));
      const before = contentsOf(disk.at);
      disk.fill(lack, lack === "bytes" ? 64 * 1024 : 1);
      t.match((await world.controller.outcome(step)).outcome, {
        status: "failed",
        error: {
          code: "revert-failed",
          message: new RegExp(
            `${disk.at} has \\d+ bytes and \\d+ inodes free; putting backup snap back needs \\d+ and 4`,
          ),
          context: { revert: { code: "disk-full" } },
        },
      });
      t.same(contentsOf(disk.at), before, "neither is back, and nothing lies beside them");
      disk.empty();
      const restored = await world.controller.step({ kind: "restore", id: "snap", dir, service: "svc" });
      t.match(restored, { status: "done" });
      t.equal(readFileSync(config, "utf8"), "old");
      t.ok(readFileSync(large).equals(Buffer.alloc(LARGE_BYTES, "old")));
    });
  }
});

/** A host that has lost its backup, of which belayd has a copy. */
async function copied(t: Test) {
  const world = await World.make(t);
  const dir = join(world.dir, "backups");
  const disk = SmallDisk.mount(t, dir);
  let kept = Buffer.alloc(0);
  let onGet = () => {};
  world.controller.serve = (request, response) => {
    if (request.method === "PUT") {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        kept = Buffer.concat(chunks);
        const sha256 = createHash("sha256").update(kept).digest("hex");
        response.end(JSON.stringify({ sha256, bytes: kept.length }));
      });
      return;
    }
    onGet();
    response.writeHead(200, { "content-length": kept.length }).end(kept);
  };
  const large = join(world.home, "large");
  writeFileSync(large, Buffer.alloc(LARGE_BYTES, "old"));
  const items: BackupItem[] = [{ kind: "file", path: large, optional: false }];
  await world.start();
  const spec = { id: "b1", dir, items, version: "5.0.0", copy: { to: "belayd" as const, recipients: [] } };
  const stored = copyIn(await world.controller.step({ kind: "backup", spec }));
  rmSync(join(dir, "b1"), { recursive: true });
  writeFileSync(large, "new");
  const whileItComes = (work: () => void) => {
    onGet = work;
  };
  const about = { id: "b1", dir, copy: stored };
  const restore: Op = { kind: "restore", service: "svc", ...about };
  const verify: Op = { kind: "verify-backup", ...about };
  return { world, disk, dir, large, restore, verify, whileItComes };
}

function copyIn(outcome: Outcome): StoredCopy {
  const [copy] = outcome.status === "done" ? ((outcome.result as BackupResult).copies ?? []) : [];
  if (copy === undefined) throw new Error(`no copy in ${JSON.stringify(outcome)}`);
  const { sha256, bytes, encrypted } = copy;
  return { sha256, bytes, encrypted };
}

t.test("a copy that has no room here: nothing of it stays, and with room it is read and put back", real, async (t) => {
  for (const lack of LACKS) {
    await t.test(lack, async (t) => {
      const { world, disk, dir, large, restore, verify, whileItComes } = await copied(t);
      const nothing = () => {
        t.same(Object.keys(contentsOf(dir)), []);
        t.equal(readFileSync(large, "utf8"), "new");
      };
      disk.fill(lack);
      for (const op of [verify, restore]) {
        const error = { code: "backup-no-room", context: { path: dir, of: lack, needed: Number, free: Number } };
        t.match(
          await world.controller.step(op),
          { status: "failed", retryable: true, error },
          "before it is asked for",
        );
        nothing();
      }
      disk.empty();
      whileItComes(() => disk.fill(lack, lack === "bytes" ? 64 * 1024 : 1));
      for (const op of [verify, restore]) {
        t.match(await world.controller.step(op), fullAt(dir, /bringing the copy of b1 back/), "while it comes");
        nothing();
        disk.empty();
      }
      whileItComes(() => {});
      t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
      nothing();
      t.match(await world.controller.step(restore), { status: "done" });
      t.ok(readFileSync(large).equals(Buffer.alloc(LARGE_BYTES, "old")));
      t.same(readdirSync(dir), ["b1"]);
    });
  }
});

t.test("prune makes room on a disk that has neither bytes nor inodes", real, async (t) => {
  const world = await World.make(t);
  const disk = SmallDisk.mount(t, join(world.dir, "versions"));
  const backupsDir = join(disk.at, "backups");
  world.install("5.0.0");
  world.install("6.0.0");
  world.linkTo("6.0.0");
  await world.start();
  const file = join(world.home, "svc.yaml");
  writeFileSync(file, "kept");
  const items: BackupItem[] = [{ kind: "file", path: file, optional: false }];
  for (const id of ["b1", "b2"]) {
    await world.controller.step({ kind: "backup", spec: { id, dir: backupsDir, items, version: "5.0.0" } });
  }
  for (const lack of LACKS) disk.fill(lack);
  const { versionsDir, link } = world;
  const prune: Op = { kind: "prune", versionsDir, link, keep: [], backupsDir, keepBackups: 1 };
  t.match(await world.controller.step(prune), { status: "done", result: { versions: ["5.0.0"], backups: ["b1"] } });
  t.same(readdirSync(disk.at).sort(), [".ballast", "6.0.0", "backups"]);
  t.same(readdirSync(backupsDir), ["b2"]);
});

t.test(
  "a backup that there is no room to open is not a damaged one: none is removed in its stead (I4)",
  { skip: noSmallDisks || whyNoEtcd() },
  async (t) => {
    const etcd = await EtcdBackend.start(t);
    etcd.put("/teleport/key", "value");
    const world = await World.make(t);
    const disk = SmallDisk.mount(t, join(world.dir, "backups"), { bytes: 400_000_000 });
    world.more = `backends: { state: ${etcd.config("/teleport/")} }`;
    world.install("5.0.0");
    world.install("6.0.0");
    world.linkTo("6.0.0");
    await world.start();
    const file = join(world.home, "svc.yaml");
    writeFileSync(file, "kept");
    const backup = (id: string, item: BackupItem): Op => ({
      kind: "backup",
      spec: { id, dir: disk.at, items: [item], version: "5.0.0" },
    });
    const keep = async (op: Op) => t.match(await world.controller.step(op), { status: "done" });
    await keep(backup("older", { kind: "file", path: file, optional: false }));
    await keep(backup("newest", { kind: "backend", backend: "state" }));
    disk.fill("bytes", 1_000_000);
    const { versionsDir, link } = world;
    const where = { versionsDir, link, keep: [], backupsDir: disk.at };
    const prune: Op = { kind: "prune", ...where, keepBackups: 2, maxBackupAgeMs: 1 };
    t.match(await world.controller.step(prune), {
      status: "failed",
      retryable: true,
      error: { code: "backup-no-room", context: { path: disk.at, of: "bytes" } },
    });
    t.same(readdirSync(disk.at).sort(), [".ballast", "newest", "older"]);
    t.notOk(existsSync(join(versionsDir, "5.0.0")), "what needs no reading goes first, and makes room");
    disk.empty();
    t.match(await world.controller.step(prune), { status: "done", result: { backups: ["older"] } });
  },
);

/** A host that was installed without Belay, its programs on a disk of their own; 5.0.0 runs. */
async function found(
  t: Test,
  disk: (world: World, bin: string) => string,
  exec: (world: World, bin: string) => Exec = () => systemExec,
) {
  const world = await World.make(t);
  const bin = join(world.dir, "bin");
  layOut(bin, "5.0.0", "ok", {});
  // One file, as Teleport's are: nothing beside it says what it is.
  const [svc, asking] = [join(bin, "svc"), 'JSON.parse(readFileSync(join(here, "VERSION"), "utf8"))'];
  writeFileSync(svc, readFileSync(svc, "utf8").replace(asking, '{ version: "5.0.0" }'));
  writeFileSync(join(bin, "ctl"), "x".repeat(100_000), { mode: 0o755 });
  world.install("6.0.0");
  const small = SmallDisk.mount(t, disk(world, bin), { bytes: 400_000 });
  world.program = join(bin, "svc");
  await world.start({ exec: exec(world, bin) });
  await world.controller.step(world.startOp());
  const entry = { dir: bin, programs: ["svc", "ctl"], below: "" };
  const swap = (more: Partial<OpOf<"swap">> = {}) => world.swapOp("5.0.0", "6.0.0", { entry, ...more });
  return { world, bin, disk: small, swap };
}

t.test("adoption, wherever it lacks room: the old version runs on by its own files (I10)", real, async (t) => {
  const where: [what: string, lacks: readonly Lack[], disk: (world: World, bin: string) => string][] = [
    ["the versions' folder", LACKS, ({ versionsDir }) => versionsDir],
    ["the programs' own folder", ["inodes"], (_, bin) => bin],
  ];
  for (const [what, lacks, at] of where) {
    for (const lack of lacks) {
      await t.test(`${lack} in ${what}`, async (t) => {
        const { world, bin, disk, swap } = await found(t, at);
        const before = contentsOf(bin);
        disk.fill(lack);
        const outcome = await world.controller.step(swap());
        const message = new RegExp(`${disk.at}.* \\d+ bytes and ${lack === "inodes" ? 0 : "\\d+"} inodes`);
        t.match(outcome, { status: "reverted", error: { code: "disk-full", message } });
        t.same(contentsOf(bin), before);
        t.notOk(existsSync(world.link));
        t.same(Object.keys(contentsOf(world.versionsDir)), ["6.0.0"]);
        t.same(world.starts().length, 1, "it was never touched");
        disk.empty();
        t.match(await world.controller.step(swap()), { status: "done", result: { running: "6.0.0" } });
      });
    }
  }
});

/** 6.0.0 does this in the folder that it was started from, and ends. */
function spoil(world: World, bin: string, deeds: string): void {
  const bad = `#!/bin/sh\necho "6.0.0 $$" >> "$HOME_DIR/starts"\ncd ${bin} || exit 2\n${deeds}\nexit 1\n`;
  writeFileSync(join(world.versionsDir, "6.0.0", "svc"), bad);
  chmodSync(join(world.versionsDir, "6.0.0", "svc"), 0o755);
}

const FILLS_THE_DISK = "cat /dev/zero > dump 2>/dev/null";
const CLEARS_AWAY = "rm .*.belay-was";

t.test("no room on the way back: the very files have their names again, which takes none (I10)", real, async (t) => {
  const { world, bin, swap } = await found(t, (_, bin) => bin);
  const files = () => ["svc", "ctl"].map((name) => lstatSync(join(bin, name)));
  const before = files();
  spoil(world, bin, FILLS_THE_DISK);
  const outcome = await world.controller.step(swap());
  t.match(outcome, { status: "reverted", error: { code: "service-crashed" } });
  t.notMatch(outcome, { error: { context: { leftAdopted: {} } } });
  for (const [index, now] of files().entries()) {
    const { ino, mtimeMs, mode } = before[index] ?? now;
    t.match(now, { ino, mtimeMs, mode });
    t.ok(now.isFile());
  }
  t.notOk(existsSync(world.link));
  t.same(readdirSync(world.versionsDir), ["6.0.0"]);
  t.same(readdirSync(bin).sort(), ["VERSION", "ctl", "dump", "package.json", "svc"]);
  t.equal(world.starts().at(-1)?.split(" ")[0], "5.0.0");
  t.equal(world.servicePids().length, 1);
});

/** `cp` on a host that speaks German, unless it is asked not to. */
const GERMAN: Exec = {
  ...systemExec,
  run: async (argv, options) => {
    const result = await systemExec.run(argv, options);
    if (argv[0] !== "cp" || options.env?.LC_ALL === "C") return result;
    return { ...result, stderr: result.stderr.replace("No space left on device", "Auf dem Gerät ist kein Platz mehr") };
  },
};

/** Once 6.0.0 has been started, nothing can be copied any more. */
function worn(world: World): Exec {
  const broken = { code: 1, signal: null, stdout: "", stderr: "cp: error writing 'svc': Input/output error" };
  return {
    ...systemExec,
    run: async (argv, options) =>
      argv[0] === "cp" && world.startsOf("6.0.0") > 0 ? broken : systemExec.run(argv, options),
  };
}

t.test("names that can't be files again lead to the old version, which runs (I10)", real, async (t) => {
  const cases: [what: string, deeds: string, exec: (world: World) => Exec, code: string][] = [
    ["no room for a copy", `${CLEARS_AWAY}; ${FILLS_THE_DISK}`, () => GERMAN, "disk-full"],
    ["a disk that fails", `${CLEARS_AWAY}; touch dump`, worn, "copy-failed"],
  ];
  for (const [what, deeds, exec, code] of cases) {
    await t.test(what, async (t) => {
      const { world, bin, swap } = await found(t, (_, bin) => bin, exec);
      spoil(world, bin, deeds);
      t.match(await world.controller.step(swap()), {
        status: "reverted",
        error: { code: "service-crashed", context: { leftAdopted: { code } } },
      });
      t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
      for (const name of ["svc", "ctl"]) t.equal(readlinkSync(join(bin, name)), join(world.link, name));
      t.equal(world.starts().at(-1)?.split(" ")[0], "5.0.0");
      t.equal(world.servicePids().length, 1);
      t.same(readdirSync(bin).sort(), ["VERSION", "ctl", "dump", "package.json", "svc"], "nothing half-made");
      if (code !== "disk-full") return;
      rmSync(join(bin, "dump"));
      world.install("6.1.0");
      const entry = { dir: bin, programs: ["svc", "ctl"], below: "" };
      const next = await world.controller.step(world.swapOp("5.0.0", "6.1.0", { entry }));
      t.match(next, { status: "done", result: { running: "6.1.0" } });
    });
  }
});

t.test("a name that somebody took away meanwhile is there again, and the old version runs", real, async (t) => {
  for (const deeds of ["rm ctl", `rm ctl; ${CLEARS_AWAY}`]) {
    await t.test(deeds, async (t) => {
      const { world, bin, swap } = await found(t, (_, bin) => bin);
      const before = contentsOf(bin);
      spoil(world, bin, deeds);
      const outcome = await world.controller.step(swap());
      t.match(outcome, { status: "reverted", error: { code: "service-crashed" } });
      t.notMatch(outcome, { error: { context: { leftAdopted: {} } } });
      t.same(contentsOf(bin), before);
      t.equal(world.servicePids().length, 1);
    });
  }
});

t.test("a swap that holds keeps nothing beside the names", real, async (t) => {
  const { world, bin, swap } = await found(t, (_, bin) => bin);
  t.match(await world.controller.step(swap()), { status: "done", result: { running: "6.0.0" } });
  t.same(readdirSync(bin).sort(), ["VERSION", "ctl", "package.json", "svc"]);
});

t.test("the link goes back on a disk on which nothing can be made any more (I10)", real, async (t) => {
  const world = await World.make(t);
  const disk = SmallDisk.mount(t, join(world.dir, "small"));
  const link = join(disk.at, "current");
  world.install("5.0.0");
  world.install("6.0.0", "never-ready");
  world.linkTo("5.0.0");
  cpSync(world.link, link, { verbatimSymlinks: true });
  world.program = join(link, "svc");
  await world.start();
  await world.controller.step(world.startOp());
  const step = world.controller.id();
  world.controller.send(world.swapOp("5.0.0", "6.0.0", { link, startTimeoutMs: 10_000 }), { step });
  await until(async () => world.startsOf("6.0.0") === 1, "the new version is started", A_MINUTE_MS);
  for (const lack of LACKS) disk.fill(lack);
  t.match((await world.controller.outcome(step)).outcome, { status: "reverted", error: { code: "unhealthy" } });
  t.equal(readlinkSync(link), join(world.versionsDir, "5.0.0"));
  t.same(Object.keys(contentsOf(disk.at)), ["current"]);
  t.equal(world.servicePids().length, 1);
});
