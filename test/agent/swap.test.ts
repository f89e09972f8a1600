import { chmodSync, existsSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AgentOptions, ProcessService } from "@belay/agent";
import { BelayError } from "@belay/shared";
import t, { type Test } from "tap";
import { until } from "../support/real-fleet/until.js";
import { DatabaseSync } from "./support/database.js";
import { noSmallDisks, SmallDisk } from "./support/small-disk.js";
import { type Mode, World } from "./support/world.js";

/** For what takes a moment on a quiet machine. */
const A_MINUTE_MS = 60_000;

/** A world whose agent runs and whose service runs 5.0.0; 6.0.0 is installed beside it. */
async function running(
  t: Parameters<typeof World.make>[0],
  mode: Mode = "ok",
  more: object = {},
  restartDelayMs?: number,
): Promise<World> {
  const world = await World.make(t);
  world.restartDelayMs = restartDelayMs ?? world.restartDelayMs;
  world.install("5.0.0");
  world.install("6.0.0", mode, more);
  world.linkTo("5.0.0");
  await world.start();
  const started = await world.controller.step(world.startOp());
  if (started.status !== "done") throw new Error(JSON.stringify(started));
  return world;
}

const snapshotOf = (world: World) => ({
  id: "snap",
  dir: join(world.dir, "backups"),
  version: "5.0.0",
  items: [
    { kind: "file" as const, path: join(world.home, "data"), optional: false },
    { kind: "sqlite" as const, path: join(world.home, "backend.db"), optional: true },
  ],
});

/** Real processes on shared cores. */
t.setTimeout(120_000);

/** How long a release may take that never becomes healthy: a busy machine must have started its process by then, or it was never started. */
const BUSY_START_MS = 4_000;

t.test("restart, reload and start bring the new version up, each starting it once", async (t) => {
  for (const how of ["restart", "reload", "start"] as const) {
    const world = await running(t);
    if (how === "start") await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 3000 });
    const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { how }));
    t.match(outcome, { status: "done", changed: true, result: { from: "5.0.0", to: "6.0.0", running: "6.0.0" } }, how);
    t.equal(readlinkSync(world.link), join(world.versionsDir, "6.0.0"));
    t.equal(world.startsOf("6.0.0"), 1);
    const again = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { how }));
    t.match(again, { status: "done", changed: false, result: { running: "6.0.0" } }, "its effect is there already");
    t.equal(world.startsOf("6.0.0"), 1);
    await world.stop();
  }
});

t.test("a reload that the service doesn't hear becomes a restart", async (t) => {
  const world = await World.make(t);
  world.install("5.0.0", "deaf");
  world.install("6.0.0");
  world.linkTo("5.0.0");
  await world.start();
  await world.controller.step(world.startOp());
  const op = world.swapOp("5.0.0", "6.0.0", { how: "reload", startTimeoutMs: BUSY_START_MS });
  t.match(await world.controller.step(op), { status: "done", result: { running: "6.0.0" } });
  t.same(
    world.starts().map((line) => line.split(" ")[0]),
    ["5.0.0", "6.0.0"],
  );
});

t.test("what doesn't hold is undone by the agent alone", async (t) => {
  const bad: [Mode, object, string, object][] = [
    ["crash", {}, "service-crashed", {}],
    ["crash-after", { ms: 300 }, "service-crashed", { settleMs: 2000 }],
    ["never-ready", {}, "unhealthy", { startTimeoutMs: BUSY_START_MS }],
    ["ok", { reports: "5.9.9" }, "unhealthy", { startTimeoutMs: BUSY_START_MS }],
    ["never-ready", {}, "unhealthy", { startTimeoutMs: BUSY_START_MS, how: "reload" }],
  ];
  for (const [mode, more, code, op] of bad) {
    // An agent that is late to look must not find it started anew.
    const world = await running(t, mode, more, BUSY_START_MS);
    const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", op));
    t.match(outcome, { status: "reverted", error: { code, hint: String } }, `${mode} ${JSON.stringify(op)}`);
    t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"), "the old link is back");
    const health = await world.controller.step({
      kind: "health",
      probe: world.probe(),
      expect: "5.0.0",
      settleMs: 0,
      timeoutMs: 5000,
    });
    t.match(health, { status: "done", result: { running: "5.0.0", healthy: true } }, "the old version runs");
    t.equal(world.startsOf("6.0.0"), 1, "the bad one was started once");
    t.equal(world.servicePids().length, 1, "no process of the bad one is left");
    await world.stop();
  }
});

t.test("the deadline is one more reason to go back, and doesn't bind the way back", async (t) => {
  const world = await running(t, "never-ready");
  const op = world.swapOp("5.0.0", "6.0.0", { startTimeoutMs: 20_000 });
  const outcome = await world.controller.step(op, { deadlineMs: 1500 });
  t.match(outcome, { status: "reverted", error: { code: "deadline-exceeded" } });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
});

t.test("a revert puts the cold snapshot back, if the new version ever ran", async (t) => {
  const world = await running(t, "never-ready");
  const database = new DatabaseSync(join(world.home, "backend.db"));
  database.exec("PRAGMA journal_mode=WAL; CREATE TABLE kv (k TEXT, v TEXT); INSERT INTO kv VALUES ('schema', 'five')");
  t.equal(world.data(), "written by 5.0.0");
  const op = world.swapOp("5.0.0", "6.0.0", { snapshot: snapshotOf(world), startTimeoutMs: 1500, revertTo: "stopped" });
  const step = world.controller.id();
  world.controller.send(op, { step });
  // The new version migrates its backend.
  await until(async () => world.data() === "written by 6.0.0", "the new version writes", A_MINUTE_MS);
  database.exec("UPDATE kv SET v = 'six'");
  database.close();
  const { outcome } = await world.controller.outcome(step);
  t.match(outcome, { status: "reverted", error: { code: "unhealthy" } });
  t.equal(world.data(), "written by 5.0.0", "the old data is back");
  t.notOk(existsSync(join(world.home, "backend.db-wal")), "no log of the newer database to be replayed");
  const back = new DatabaseSync(join(world.home, "backend.db"));
  t.same(back.rows("SELECT v FROM kv"), [{ v: "five" }]);
  back.close();
  t.same(world.servicePids(), [], "left stopped, as asked");
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
  t.match(outcome, { error: { context: { snapshot: { backup: "snap", verified: true, version: "5.0.0" } } } });
  writeFileSync(join(world.home, "data"), "written since");
  t.match(await world.controller.step({ ...op, snapshot: snapshotOf(world) }), { status: "reverted" });
  t.equal(
    world.data(),
    "written since",
    "tried again, it takes another snapshot: all was undone, and has gone on since",
  );
});

t.test("a snapshot that could not be put back gives its place to no other", async (t) => {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0", "crash");
  world.linkTo("5.0.0");
  const script = join(world.dir, "backend");
  const [state, away] = [`${script}.state`, `${script}.away`];
  writeFileSync(state, "five");
  writeFileSync(
    script,
    `#!/bin/sh\n[ $1 = save ] && exec cp ${state} "$2"\n[ ! -e ${away} ] && exec cp "$2" ${state}\n`,
  );
  chmodSync(script, 0o755);
  world.commands = `{ save: [${script}, save], load: [${script}, load] }`;
  await world.start();
  await world.controller.step(world.startOp());
  const items = [{ kind: "command" as const, command: "save", restore: "load" }];
  const snapshot = { ...snapshotOf(world), items };
  const op = world.swapOp("5.0.0", "6.0.0", { snapshot });
  writeFileSync(away, "");
  t.match(await world.controller.step(op), {
    ...{ status: "failed", retryable: false },
    error: { code: "revert-failed", context: { snapshot: { backup: "snap", verified: true, version: "5.0.0" } } },
  });
  writeFileSync(state, "migrated to six");
  world.linkTo("5.0.0");
  rmSync(away);
  for (const check of [true, false]) {
    const again = await world.controller.step(op, { check });
    t.match(again, { status: "failed", retryable: false, error: { code: "snapshot-held", hint: /rollback/ } });
  }
  const restore = { kind: "restore" as const, id: "snap", dir: snapshot.dir, service: "svc" };
  t.match(await world.controller.step(restore), { status: "done" }, "the step has touched nothing");
  t.equal(readFileSync(state, "utf8"), "five");
});

t.test("a swap with a snapshot says what it kept", async (t) => {
  const world = await running(t);
  const outcome = await world.controller.step(
    world.swapOp("5.0.0", "6.0.0", { how: "reload", snapshot: snapshotOf(world) }),
  );
  t.match(outcome, {
    status: "done",
    result: { snapshot: { backup: "snap", items: 1, verified: true, version: "5.0.0" } },
  });
  t.equal(
    readFileSync(join(world.dir, "backups/snap/0-data"), "utf8"),
    "written by 5.0.0",
    "taken before the new one ran",
  );
  t.equal(world.startsOf("6.0.0"), 1);
});

t.test("nothing is touched when the world isn't as planned", async (t) => {
  const world = await running(t);
  const { controller } = world;
  const pids = world.servicePids();
  const refuse = async (op: Parameters<typeof controller.step>[0], error: object) => {
    t.match(await controller.step(op), { status: "failed", retryable: false, error });
    t.same(world.servicePids(), pids, "the service was not touched");
    t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
  };
  await refuse(world.swapOp("5.1.0", "6.0.0"), { code: "drift", context: { expected: "5.1.0", found: "5.0.0" } });
  await refuse(world.swapOp("5.0.0", "6.0.0", { definition: "0".repeat(64) }), { code: "drift", message: /svc/ });
  await refuse(world.swapOp("5.0.0", "7.0.0"), { code: "version-missing" });
  await refuse(world.swapOp("5.0.0", "6.0.0", { sha256: "0".repeat(64) }), { code: "version-dir-changed" });
  await refuse(world.swapOp("5.0.0", "6.0.0", { how: "start" }), { code: "drift", context: { found: "running" } });
  await refuse(world.swapOp("5.0.0", "6.0.0", { service: "sshd" }), { code: "service-refused" });
  await refuse(world.swapOp("5.0.0", "6.0.0", { link: "/usr/local/bin/svc" }), { code: "path-refused" });
  const fetched = await world.release("6.1.0");
  await controller.step(fetched);
  writeFileSync(join(world.versionsDir, "6.1.0", "svc"), "#!/bin/sh\n");
  await refuse(world.swapOp("5.0.0", "6.1.0", { sha256: fetched.sha256 }), { code: "version-dir-changed" });
});

t.test("a revert that fails says so, with both reasons", async (t) => {
  const world = await running(t, "crash");
  const old = join(world.versionsDir, "5.0.0", "VERSION");
  // The old version won't come up either.
  writeFileSync(old, JSON.stringify({ version: "5.0.0", mode: "crash" }));
  const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0"));
  t.match(outcome, {
    status: "failed",
    retryable: false,
    error: {
      code: "revert-failed",
      context: { swap: { code: "service-crashed" }, revert: { code: "service-crashed" } },
    },
  });
});

type Deed = "status" | "start" | "stop" | "reload" | "glimpse";

/**
 * A supervisor that, once 6.0.0 has been started or the link leads there, can't be talked to for so many times each. What it is then
 * asked for is done nevertheless, or not, as with one that executes itself anew.
 */
function shaky(world: World, troubles: Partial<Record<Deed, number>>, does: boolean): Partial<AgentOptions> {
  const left = { ...troubles };
  return {
    openServices: async (config, rest) => {
      const service = config.services.get("svc");
      if (service?.manager !== "process") throw new Error("it is kept by the agent itself");
      const real = await ProcessService.open({ name: "svc", config: service, stateDir: config.stateDir, ...rest });
      const deeds: readonly Deed[] = ["status", "start", "stop", "reload", "glimpse"];
      for (const deed of deeds) {
        const work = real[deed].bind(real) as (arg: number) => Promise<unknown>;
        const shaken = async (arg: number) => {
          const now = left[deed] ?? 0;
          const isLinked = readlinkSync(world.link) === join(world.versionsDir, "6.0.0");
          if (now === 0 || !(isLinked || world.startsOf("6.0.0") > 0)) return work(arg);
          left[deed] = now - 1;
          if (does) await work(arg);
          throw new BelayError("systemctl-failed", `systemctl ${deed} svc.service: Connection reset by peer`, {
            hint: "",
          });
        };
        Object.assign(real, { [deed]: shaken });
      }
      return new Map([["svc", real]]);
    },
  };
}

async function shakyWorld(t: Test, mode: Mode, troubles: Partial<Record<Deed, number>>, does: boolean): Promise<World> {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0", mode);
  world.linkTo("5.0.0");
  await world.start(shaky(world, troubles, does));
  await world.controller.step(world.startOp());
  return world;
}

t.test("a supervisor that can't be talked to for a moment doesn't send a good version back (I8)", async (t) => {
  for (const [how, troubles] of [
    ["restart", { status: 3 }],
    ["reload", { status: 3, glimpse: 3 }],
  ] as const) {
    const world = await shakyWorld(t, "ok", troubles, false);
    const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { how, settleMs: 1_000 }));
    t.match(outcome, { status: "done", result: { running: "6.0.0" } }, how);
    t.equal(world.startsOf("6.0.0"), 1);
    await world.stop();
  }
});

t.test("and doesn't keep the old version from coming back (I10)", async (t) => {
  for (const does of [true, false]) {
    // The first start is the new version's, and its failure is why this goes back.
    const world = await shakyWorld(t, "ok", { stop: 3, start: 3, status: does ? 0 : 3 }, does);
    const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0"));
    t.match(outcome, { status: "reverted", error: { code: "systemctl-failed", message: /systemctl start/ } });
    t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
    t.equal(world.servicePids().length, 1);
    t.equal(world.starts().at(-1)?.split(" ")[0], "5.0.0");
    t.equal(world.startsOf("5.0.0"), 2, "it came back once");
    await world.stop();
  }
});

/** A world whose link lies on a disk of its own, on which no more than so much can be made once 5.0.0 runs. */
async function withRoomFor(t: Test, inodes: number): Promise<{ world: World; link: string }> {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0");
  const small = SmallDisk.mount(t, join(world.dir, "small"));
  const link = join(small.at, "current");
  symlinkSync(join(world.versionsDir, "5.0.0"), link);
  world.program = join(link, "svc");
  await world.start();
  await world.controller.step(world.startOp());
  small.fill("inodes", inodes);
  return { world, link };
}

t.test(
  "where nothing can be made any more, the old version is brought up again by the link that is there (I10)",
  { skip: noSmallDisks },
  async (t) => {
    const snapshot = (world: World) => {
      const nowhere = { kind: "file" as const, path: join(world.dir, "nowhere"), optional: false };
      return { ...snapshotOf(world), items: [nowhere] };
    };
    const full = { code: "disk-full", message: /small.* 0 inodes/ };
    const cases: readonly [
      what: string,
      room: number,
      more: (world: World) => object,
      outcome: object,
      starts: number,
    ][] = [
      ["there is no way back to be laid", 0, () => ({}), { status: "failed", retryable: true, error: full }, 1],
      ["the snapshot fails behind the stop", 1, (world) => ({ snapshot: snapshot(world) }), { status: "reverted" }, 2],
      ["the link can't be switched", 1, () => ({}), { status: "reverted", error: full }, 2],
      [
        "the link can't be switched, and nothing was stopped",
        1,
        () => ({ how: "reload" }),
        { status: "reverted", error: full },
        1,
      ],
    ];
    for (const [what, room, more, expected, starts] of cases) {
      const { world, link } = await withRoomFor(t, room);
      const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { ...more(world), link }));
      t.match(outcome, expected, what);
      t.equal(readlinkSync(link), join(world.versionsDir, "5.0.0"));
      t.equal(world.starts().length, starts);
      t.ok(world.starts().every((line) => line.startsWith("5.0.0 ")));
      t.equal(world.servicePids().length, 1);
    }
  },
);
