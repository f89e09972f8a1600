import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BackupItem, BackupResult, Op, Outcome } from "@belay/shared";
import t, { type Test } from "tap";
import { DatabaseSync } from "./support/database.js";
import { World } from "./support/world.js";
import { whyNoXattrs, xattr } from "./support/xattr.js";

const WRITER = fileURLToPath(new URL("./support/writer.ts", import.meta.url));
t.setTimeout(120_000);

async function host(t: Test) {
  const world = await World.make(t);
  const dir = join(world.dir, "backups");
  const database = join(world.home, "backend.db");
  const config = join(world.home, "svc.yaml");
  writeFileSync(config, "first");
  chmodSync(config, 0o640);
  const script = join(world.dir, "dump");
  writeFileSync(
    script,
    '#!/bin/sh\nif [ "$1" = save ]; then echo dumped > "$2"; else cp "$2" "$(dirname "$0")/restored"; fi\n',
  );
  chmodSync(script, 0o755);
  world.commands = `{ dump: [${script}, save], load: [${script}, load] }`;
  await world.start();
  const items: BackupItem[] = [
    { kind: "file", path: config, optional: false },
    { kind: "sqlite", path: database, optional: true },
    { kind: "command", command: "dump", restore: "load" },
    { kind: "file", path: join(world.home, "not-there"), optional: true },
  ];
  const backup: Op = { kind: "backup", spec: { id: "b1", dir, items, version: "5.0.0" } };
  const verify: Op = { kind: "verify-backup", id: "b1", dir };
  const restore: Op = { kind: "restore", id: "b1", dir, service: "svc" };
  return { world, dir, database, config, items, backup, verify, restore };
}

t.test("a database is kept whole while it is written all the time (I4)", async (t) => {
  const { world, dir, database, backup, verify } = await host(t);
  const writer: ChildProcess = spawn(process.execPath, ["--import=tsx", WRITER, database], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => void writer.kill("SIGKILL"));
  if (writer.stdout) await once(writer.stdout, "data");
  const kept = await world.controller.step(backup);
  t.match(kept, {
    status: "done",
    changed: true,
    result: { backup: "b1", items: 3, verified: true, version: "5.0.0" },
  });
  t.equal(writer.exitCode, null, "it was written all the while");
  const copy = new DatabaseSync(join(dir, "b1", "1-backend.db"));
  // Each transaction writes both tables: a torn copy would have one without the other.
  t.same(copy.rows("SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b) AS torn"), [{ torn: 0 }]);
  t.ok((copy.rows("SELECT count(*) AS n FROM a")[0] as { n: number }).n > 0);
  copy.close();
  t.match(await world.controller.step(backup), {
    status: "done",
    changed: false,
    result: (kept as { result: BackupResult }).result,
  });
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true } });
  t.same(readdirSync(dir), ["b1"], "nothing half-made is left");
});

t.test("a backup that changed by one byte is refused, and a restore of it touches nothing", async (t) => {
  const { world, dir, database, config, backup, verify, restore } = await host(t);
  makeDatabase(database);
  await world.controller.step(backup);
  writeFileSync(config, "second");
  for (const file of readdirSync(join(dir, "b1"))) {
    const path = join(dir, "b1", file);
    const good = readFileSync(path);
    const bad = Buffer.from(good);
    const at = Math.floor(bad.length / 2);
    bad[at] = (bad[at] ?? 0) ^ 1;
    writeFileSync(path, bad);
    if (file === "manifest.json") {
      const told = await world.controller.step(verify);
      const whole = (await world.controller.step(backup)) as { result?: BackupResult };
      t.ok(told.status === "failed" || whole.result?.sha256 !== undefined, "a manifest's own digest names it");
    } else {
      for (const op of [verify, restore]) {
        t.match(
          await world.controller.step(op),
          { status: "failed", retryable: false, error: { code: "backup-corrupt" } },
          file,
        );
      }
    }
    writeFileSync(path, good);
  }
  t.equal(readFileSync(config, "utf8"), "second");
  unlinkSync(join(dir, "b1", "0-svc.yaml"));
  t.match(await world.controller.step(verify), {
    status: "failed",
    error: { code: "backup-corrupt", message: /missing/ },
  });
  t.match(await world.controller.step({ ...verify, id: "b2" } as Op), {
    status: "failed",
    error: { code: "backup-missing" },
  });
});

t.test("a restore puts content, mode and database back, without the newer log", async (t) => {
  const { world, database, config, backup, restore } = await host(t);
  makeDatabase(database);
  await world.controller.step(backup);
  writeFileSync(config, "second");
  chmodSync(config, 0o600);
  const noLabels = whyNoXattrs(world.dir);
  if (noLabels === false) xattr(config, "user.label", "kept");
  const newer = new DatabaseSync(database);
  newer.exec("INSERT INTO kv VALUES ('newer')");
  t.ok(existsSync(`${database}-wal`));
  t.match(await world.controller.step(restore), { status: "done", changed: true, result: { verified: true } });
  t.notOk(existsSync(`${database}-wal`));
  t.equal(readFileSync(config, "utf8"), "first");
  t.equal(statSync(config).mode & 0o777, 0o640);
  await t.test("what belongs to the file beside its content stays", { skip: noLabels }, async (t) => {
    t.equal(xattr(config, "user.label"), "kept");
  });
  t.equal(readFileSync(join(world.dir, "restored"), "utf8"), "dumped\n", "the command's own restore ran");
  newer.close();
  const back = new DatabaseSync(database);
  t.same(back.rows("SELECT v FROM kv"), [{ v: "old" }]);
  back.close();
});

t.test("a restore needs the service stopped", async (t) => {
  const { world, backup, restore, config } = await host(t);
  await world.controller.step(backup);
  writeFileSync(config, "second");
  world.install("5.0.0");
  world.linkTo("5.0.0");
  await world.controller.step(world.startOp());
  t.match(await world.controller.step(restore), {
    status: "failed",
    retryable: false,
    error: { code: "service-running" },
  });
  t.equal(readFileSync(config, "utf8"), "second");
});

t.test("what this host doesn't allow, or doesn't have, is refused before anything is made", async (t) => {
  const { world, dir } = await host(t);
  const cases: [BackupItem, string][] = [
    [{ kind: "file", path: "/etc/passwd", optional: false }, "path-refused"],
    [{ kind: "command", command: "rm", restore: "rm" }, "command-refused"],
    [{ kind: "file", path: join(world.home, "not-there"), optional: false }, "backup-source-missing"],
  ];
  for (const [item, code] of cases) {
    const op: Op = { kind: "backup", spec: { id: "b2", dir, items: [item], version: null } };
    t.match(await world.controller.step(op), { status: "failed", retryable: false, error: { code } }, code);
    t.same(existsSync(dir) ? readdirSync(dir) : [], []);
  }
});

t.test("prune keeps what is linked, named or new, and frees the rest", async (t) => {
  const { world, dir, items } = await host(t);
  for (const version of ["4.0.0", "4.1.0", "5.0.0", "5.1.0", "6.0.0"]) world.install(version);
  world.linkTo("5.0.0");
  // What an agent would go back to.
  symlinkSync(join(world.versionsDir, "4.1.0"), join(dirname(world.link), "previous"));
  writeFileSync(join(world.versionsDir, `.belay-${"0".repeat(64)}.partial`), "part");
  for (const id of ["b1", "b2", "b3"])
    await world.controller.step({ kind: "backup", spec: { id, dir, items, version: null } });
  const { versionsDir, link } = world;
  const op: Op = { kind: "prune", versionsDir, link, keep: ["6.0.0"], backupsDir: dir, keepBackups: 2 };
  t.match(await world.controller.step(op, { check: true }), {
    status: "done",
    changed: true,
    result: { would: /4\.0\.0, 5\.1\.0.*b1/ },
  });
  t.equal(readdirSync(dir).length, 3);
  t.match(await world.controller.step(op), { status: "done", changed: true });
  t.same(readdirSync(versionsDir).sort(), ["4.1.0", "5.0.0", "6.0.0"]);
  t.same(readdirSync(dir).sort(), ["b2", "b3"]);
  t.match(await world.controller.step(op), { status: "done", changed: false });
});

t.test("prune leaves alone what a process was started from, also below a link", async (t) => {
  const { world, dir } = await host(t);
  for (const version of ["4.0.0", "5.0.0", "6.0.0"]) world.install(version);
  world.linkTo("6.0.0");
  const program = join(world.versionsDir, "5.0.0", "sleep");
  copyFileSync("/bin/sleep", program);
  const drains = spawn(program, ["infinity"], { stdio: "ignore" });
  t.teardown(() => drains.kill("SIGKILL"));
  await once(drains, "spawn");
  const versionsDir = join(world.dir, "linked");
  symlinkSync(world.versionsDir, versionsDir);
  const op: Op = { kind: "prune", versionsDir, link: world.link, keep: [], backupsDir: dir, keepBackups: 1 };
  t.match(await world.controller.step(op), { status: "done", result: { versions: ["4.0.0"] } });
  t.same(readdirSync(world.versionsDir).sort(), ["5.0.0", "6.0.0"]);
});

t.test("prune by age, too, but never the newest that reads back whole", async (t) => {
  const { world, dir, items } = await host(t);
  const age = (id: string, days: number) => {
    const file = join(dir, id, "manifest.json");
    const told = JSON.parse(readFileSync(file, "utf8")) as { takenAt: number };
    writeFileSync(file, JSON.stringify({ ...told, takenAt: Date.now() - days * 86_400_000 }));
  };
  for (const id of ["b1", "b2", "b3", "b4"])
    await world.controller.step({ kind: "backup", spec: { id, dir, items, version: null } });
  for (const [id, days] of [
    ["b1", 40],
    ["b2", 30],
    ["b3", 20],
    ["b4", 10],
  ] as const)
    age(id, days);
  mkdirSync(join(dir, ".b9.partial"));
  const { versionsDir, link } = world;
  const prune = (days: number, keepBackups = 10): Promise<Outcome> => {
    const maxBackupAgeMs = days * 86_400_000;
    return world.controller.step({
      kind: "prune",
      versionsDir,
      link,
      keep: [],
      backupsDir: dir,
      keepBackups,
      maxBackupAgeMs,
    });
  };
  t.match(await prune(35), { status: "done", result: { backups: ["b1"] } });
  t.same(readdirSync(dir).sort(), ["b2", "b3", "b4"], "and what a killed agent left is gone");
  writeFileSync(join(dir, "b4", "0-svc.yaml"), "spoilt");
  t.match(await prune(5), { status: "done", changed: true });
  t.same(readdirSync(dir), ["b3"], "all are too old, and b4 is damaged: b3 is what is left to go back to");
  writeFileSync(join(dir, "b3", "0-svc.yaml"), "spoilt");
  t.match(await prune(5), { status: "done", changed: false }, "nothing is sound: a person must look");
  t.same(readdirSync(dir), ["b3"]);
});

t.test("prune leaves alone what a rollback may need, whatever its number and age", async (t) => {
  const { world, dir, items } = await host(t);
  for (const id of ["old", "r1.hop-1.h", "r1.hop-1.h.cold", "r1.hop-2.h", "new"]) {
    await world.controller.step({ kind: "backup", spec: { id, dir, items, version: null } });
  }
  const { versionsDir, link } = world;
  const neededBackups = ["r1.hop-1.h", "r1.hop-1.h.cold", "r1.hop-2.h", "r1.hop-2.h.cold"];
  const where = { kind: "prune" as const, versionsDir, link, keep: [], backupsDir: dir };
  const byNumber: Op = { ...where, keepBackups: 1, neededBackups };
  t.match(await world.controller.step(byNumber, { check: true }), { result: { would: /backups \[old\]$/ } });
  t.same(await world.controller.step(byNumber), {
    ...{ status: "done", changed: true },
    result: { versions: [], backups: ["old"] },
  });
  const byAge: Op = { ...where, keepBackups: 10, maxBackupAgeMs: 0, neededBackups: ["r1.hop-1.h.cold"] };
  t.match(await world.controller.step(byAge), { result: { backups: ["r1.hop-2.h", "r1.hop-1.h"] } });
  t.same(readdirSync(dir).sort(), ["new", "r1.hop-1.h.cold"], "and the newest that is whole");
});

t.test("500 writes a second: the restored copy is sound and has all that was committed before (I4)", async (t) => {
  const { world, database, backup, restore } = await host(t);
  const writer: ChildProcess = spawn(process.execPath, ["--import=tsx", WRITER, database, "500"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => void writer.kill("SIGKILL"));
  if (writer.stdout) await once(writer.stdout, "data");
  const reader = new DatabaseSync(database);
  const committed = reader.rows("SELECT id FROM a ORDER BY id") as { id: number }[];
  t.match(await world.controller.step(backup), { status: "done" });
  const count = () => (reader.rows("SELECT count(*) AS n FROM a")[0] as { n: number }).n;
  const after = count();
  t.ok(after > committed.length, `${after - committed.length} rows were written meanwhile`);
  t.equal(writer.exitCode, null, "and on it goes");
  reader.close();
  writer.kill("SIGKILL");
  await once(writer, "exit");
  t.match(await world.controller.step(restore), { status: "done" });
  const restored = new DatabaseSync(database);
  t.same(restored.rows("PRAGMA integrity_check"), [{ integrity_check: "ok" }]);
  const ids = new Set((restored.rows("SELECT id FROM a") as { id: number }[]).map(({ id }) => id));
  t.same(
    committed.filter(({ id }) => !ids.has(id)),
    [],
    "every row that was committed before",
  );
  t.same(restored.rows("SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b) AS torn"), [{ torn: 0 }]);
  restored.close();
});

t.test("no room is said before anything is written: where, how much, and how much there is", async (t) => {
  const { world, dir } = await host(t);
  const huge = join(world.home, "huge");
  writeFileSync(huge, "");
  truncateSync(huge, 2 ** 43);
  const items: BackupItem[] = [{ kind: "file", path: huge, optional: false }];
  t.match(await world.controller.step({ kind: "backup", spec: { id: "b1", dir, items, version: null } }), {
    status: "failed",
    retryable: true,
    error: {
      code: "backup-no-room",
      message: new RegExp(`8796093022208 bytes at ${dir}: \\d+ are free`),
      context: { path: dir, of: "bytes", needed: 2 ** 43, free: Number },
    },
  });
  t.notOk(existsSync(dir));
});

t.test("a backend of the owner's own programs: kept, read back by them, put back", async (t) => {
  const { world, dir } = await host(t);
  const script = join(world.dir, "dynamo");
  const state = join(world.dir, "table");
  writeFileSync(
    script,
    `#!/bin/sh\ncase $1 in save) cp ${state} "$2";; load) cp "$2" ${state};; check) grep -q "^whole" "$2" || { echo torn >&2; exit 3; };; esac\n`,
  );
  chmodSync(script, 0o755);
  await world.stop();
  world.more = `backends: { dynamo: { kind: command, backup: [${script}, save], restore: [${script}, load], verify: [${script}, check] } }`;
  await world.start();
  const items: BackupItem[] = [{ kind: "backend", backend: "dynamo" }];
  const backupOf = (id: string): Op => ({ kind: "backup", spec: { id, dir, items, version: null } });
  writeFileSync(state, "whole table");
  t.match(await world.controller.step(backupOf("b1")), { status: "done", result: { verified: true } });
  writeFileSync(state, "newer table");
  t.match(await world.controller.step({ kind: "restore", id: "b1", dir, service: "svc" }), { status: "done" });
  t.equal(readFileSync(state, "utf8"), "whole table");
  writeFileSync(state, "half a ta");
  t.match(await world.controller.step(backupOf("b2")), {
    status: "failed",
    retryable: false,
    error: { code: "backup-corrupt", message: /torn/ },
  });
  const other: Op = {
    kind: "backup",
    spec: { id: "b3", dir, items: [{ kind: "backend", backend: "other" }], version: null },
  };
  t.match(await world.controller.step(other), {
    status: "failed",
    retryable: false,
    error: { code: "backend-refused" },
  });
});

t.test("a backup of the first agents, whose manifest says less, is still read and put back", async (t) => {
  const { world, dir, config, verify, restore } = await host(t);
  mkdirSync(join(dir, "b1"), { recursive: true });
  writeFileSync(join(dir, "b1", "0-svc.yaml"), "kept long ago");
  const sha256 = createHash("sha256").update("kept long ago").digest("hex");
  const item = { kind: "file", path: config, file: "0-svc.yaml", uid: 0, gid: 0, mode: 0o640, size: 13, sha256 };
  const manifest = { id: "b1", takenAt: 1_700_000_000_000, version: "5.0.0", items: [item] };
  writeFileSync(join(dir, "b1", "manifest.json"), JSON.stringify(manifest));
  t.match(await world.controller.step(verify), { status: "done", result: { verified: true, version: "5.0.0" } });
  t.match(await world.controller.step(restore), { status: "done" });
  t.equal(readFileSync(config, "utf8"), "kept long ago");
});

function makeDatabase(file: string): void {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode=WAL; CREATE TABLE kv (v TEXT); INSERT INTO kv VALUES ('old')");
  database.close();
}
