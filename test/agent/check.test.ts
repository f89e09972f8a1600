import { readdirSync, readlinkSync, statfsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Op } from "@belay/shared";
import t from "tap";
import { World } from "./support/world.js";

t.setTimeout(120_000);

/** Every name below a folder with its size and time of change: any touch shows. The agent's own journal is its own. */
function everything(dir: string, except: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (path === except) return [];
    if (entry.isDirectory()) return [path, ...everything(path, except)];
    if (entry.isSymbolicLink()) return [`${path} -> ${readlinkSync(path)}`];
    return [`${path} ${statSync(path).size} ${statSync(path).mtimeMs}`];
  });
}

t.test("a check of every op says what it would do, and changes nothing", async (t) => {
  const world = await World.make(t);
  const { controller, versionsDir, link } = world;
  world.install("4.0.0");
  world.install("5.0.0");
  world.install("6.0.0");
  world.linkTo("5.0.0");
  await world.start();
  await controller.step(world.startOp());
  const dir = join(world.dir, "backups");
  const items = [{ kind: "file" as const, path: join(world.home, "data"), optional: false }];
  const fetch = await world.release("7.0.0");
  await controller.step({ kind: "backup", spec: { id: "old", dir, items, version: null } });

  const looks: [Op, object][] = [
    [{ kind: "noop" }, { changed: false }],
    [
      { kind: "facts", probe: world.probe() },
      { changed: false, result: { installed: "5.0.0" } },
    ],
    [{ kind: "preflight", probe: world.probe(), expect: "5.0.0", needs: [], healthy: true }, { changed: false }],
    [fetch, { changed: true, result: { would: /download \d+ bytes/ } }],
    [
      { kind: "backup", spec: { id: "new", dir, items, version: null } },
      { changed: true, result: { would: /keep 1 items/ } },
    ],
    [
      { kind: "verify-backup", id: "old", dir },
      { changed: false, result: { verified: true } },
    ],
    [
      world.swapOp("5.0.0", "6.0.0"),
      { changed: true, result: { would: /stop svc, point .* at 6\.0\.0, restart svc/ } },
    ],
    [world.swapOp("5.0.0", "6.0.0", { how: "reload" }), { changed: true, result: { would: /^point/ } }],
    [
      { kind: "stop", service: "svc", timeoutMs: 1 },
      { changed: true, result: { would: "stop svc" } },
    ],
    [world.startOp(), { changed: false }],
    [
      { kind: "health", probe: world.probe(), expect: "5.0.0", settleMs: 0, timeoutMs: 1 },
      { changed: false, result: { would: String } },
    ],
    [
      { kind: "prune", versionsDir, link, keep: [], backupsDir: dir, keepBackups: 1 },
      { changed: true, result: { would: /4\.0\.0, 6\.0\.0/ } },
    ],
  ];
  const journal = world.stateDir;
  const before = [everything(world.dir, journal), world.servicePids()];
  for (const [op, expected] of looks) {
    t.match(await controller.step(op, { check: true }), { status: "done", ...expected }, op.kind);
    t.same([everything(world.dir, journal), world.servicePids()], before, `${op.kind} changed nothing`);
  }
  const drifted = await controller.step(world.swapOp("5.5.0", "6.0.0"), { check: true });
  t.match(drifted, { status: "failed", error: { code: "drift" } }, "a check fails where the op would");

  await controller.step({ kind: "stop", service: "svc", timeoutMs: 3000 });
  const stopped = [everything(world.dir, journal), world.servicePids()];
  t.match(await controller.step(world.startOp(), { check: true }), { changed: true, result: { would: "start svc" } });
  const restore = await controller.step({ kind: "restore", id: "old", dir, service: "svc" }, { check: true });
  t.match(restore, { changed: true, result: { would: /put 1 items of backup old back/ } });
  t.same([everything(world.dir, journal), world.servicePids()], stopped);
});

t.test("preflight says what is missing", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  world.install("5.0.0");
  world.linkTo("5.0.0");
  await world.start();
  const ask = (more: object) =>
    controller.step({ kind: "preflight", probe: world.probe(), expect: "5.0.0", needs: [], healthy: false, ...more });
  t.match(await ask({}), {
    status: "done",
    result: { installed: "5.0.0", running: null, healthy: false, arch: "amd64", edition: "oss" },
  });
  t.match(await ask({ healthy: true }), { status: "failed", error: { code: "unhealthy", message: /stopped/ } });
  t.match(await ask({ expect: "5.0.1" }), {
    status: "failed",
    error: { code: "drift", context: { expected: "5.0.1", found: "5.0.0" } },
  });
  t.match(await ask({ definition: "0".repeat(64) }), {
    status: "failed",
    error: { code: "drift", context: { service: "svc", found: null }, hint: /plan anew/ },
  });
  const path = join(world.dir, "not", "yet", "made");
  t.match(await ask({ needs: [{ path, bytes: 1, inodes: 1 }] }), { status: "done" });
  t.match(await ask({ needs: [{ path, bytes: 1e18, inodes: 1 }] }), {
    status: "failed",
    retryable: true,
    error: { code: "disk-full", message: /not\/yet\/made has \d+ bytes .* this upgrade needs 1000000000000000000/ },
  });
  const { bavail, bsize } = statfsSync(world.dir);
  const freeBytes = Math.floor(bavail * bsize);
  const most = { path, bytes: Math.floor(freeBytes * 0.7), inodes: 1 };
  t.match(await ask({ needs: [most] }), { status: "done" });
  t.match(
    await ask({ needs: [most, { path: world.dir, bytes: Math.floor(freeBytes * 0.7), inodes: 1 }] }),
    { error: { code: "disk-full", message: / with / } },
    "what lands on one disk must fit there together",
  );
  writeFileSync(join(world.dir, "huge"), "");
  truncateSync(join(world.dir, "huge"), Math.floor(freeBytes * 0.7));
  const copies = [{ kind: "file" as const, path: join(world.dir, "huge"), optional: false }];
  t.match(await ask({ needs: [{ ...most, copies }] }), { error: { code: "disk-full" } }, "what is copied is measured");
  t.match(await ask({ needs: [{ path: "/", bytes: 1, inodes: 1 }] }), {
    status: "failed",
    error: { code: "path-refused" },
  });
});
