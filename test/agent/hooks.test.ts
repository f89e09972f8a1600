import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpOf } from "@belay/shared";
import t, { type Test } from "tap";
import { AGENT_BIN, type Mode, World } from "./support/world.js";

t.setTimeout(120_000);

/** A world whose service runs 5.0.0, and whose hooks each write a line into `said`. */
async function running(t: Test, mode: Mode = "ok"): Promise<{ world: World; hook: typeof hook; said: () => string[] }> {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0", mode);
  world.linkTo("5.0.0");
  await world.start();
  await world.controller.step(world.startOp());
  const file = join(world.dir, "said");
  const hook = (name: string, more = "") => {
    const path = join(world.dir, "hooks.d", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\necho ${name} from $BELAY_FROM to $BELAY_TO >> ${file}\n${more}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const said = () => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);
  return { world, hook, said };
}

const op = (world: World, more = {}) => world.swapOp("5.0.0", "6.0.0", { hookTimeoutMs: 20_000, ...more });
const words = (names: string[]) => names.map((name) => `${name} from 5.0.0 to 6.0.0`);

t.test("hooks run in their order, in an environment of their own, and what they say is told", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-drain");
  hook("drain.d/20-second", "echo gone >&2");
  hook("drain.d/10-first", "env | sort");
  hook("undrain");
  hook("post-health");
  const outcome = await world.controller.step(op(world));
  t.match(outcome, { status: "done", result: { running: "6.0.0" } });
  t.same(said(), words(["pre-drain", "drain.d/10-first", "drain.d/20-second", "post-health", "undrain"]));
  const { hooks } = (outcome as { result: { hooks: { hook: string; exit: number; output: string }[] } }).result;
  t.same(
    hooks.map(({ hook: name, exit }) => [name, exit]),
    [
      ["pre-drain", 0],
      ["drain.d/10-first", 0],
      ["drain.d/20-second", 0],
      ["post-health", 0],
      ["undrain", 0],
    ],
  );
  t.equal(hooks[2]?.output, "gone");
  const env = hooks[1]?.output.split("\n").map((line) => line.split("=")[0]);
  const expected = ["FROM", "HOOK", "HOST", "SERVICE", "STEP", "TO"].map((name) => `BELAY_${name}`);
  t.same(
    env?.filter((name) => name !== "PWD" && name !== "_"),
    [...expected, "PATH"],
  );
});

t.test("of a hook that says a lot the end is told, of what it prints to either", async (t) => {
  const { world, hook } = await running(t);
  hook("drain", "seq 1 20000; seq 1 20000 >&2; echo connection refused; echo giving up >&2; exit 3");
  const outcome = await world.controller.step(op(world));
  t.match(outcome, { status: "failed", error: { code: "hook-failed" } });
  const { message } = (outcome as { error: { message: string } }).error;
  t.match(message, /19999\n20000\nconnection refused\n/);
  t.match(message, /19999\n20000\ngiving up$/);
  t.ok(message.length < 4500, `${message.length}`);
});

t.test("21 is not yet: nothing was touched, and the host has its work back", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-drain", "echo nobody minds");
  hook("drain.d/10-first", "echo so far so good");
  hook("drain.d/20-second", "echo sessions are open in postgres://ann:hunter2@db/x; exit 21");
  hook("undrain", "echo back again");
  const outcome = await world.controller.step(op(world));
  const hooks = [
    { hook: "pre-drain", exit: 0, output: "nobody minds" },
    { hook: "drain.d/10-first", exit: 0, output: "so far so good" },
    { hook: "undrain", exit: 0, output: "back again" },
  ];
  const message = /sessions are open in postgres:\/\/ann:\(hidden\)@db/;
  t.match(outcome, { status: "failed", retryable: true, error: { code: "hook-not-yet", message, context: { hooks } } });
  t.same(said(), words(["pre-drain", "drain.d/10-first", "drain.d/20-second", "undrain"]));
  t.equal(world.starts().length, 1);
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
});

t.test("any other code fails the step; a pre-drain that fails has nothing to undrain", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-drain", "exit 3");
  hook("undrain");
  t.match(await world.controller.step(op(world)), {
    status: "failed",
    retryable: false,
    error: { code: "hook-failed" },
  });
  t.same(said(), words(["pre-drain"]));
});

t.test("a version that the owner's own look finds wanting is undone", async (t) => {
  const { world, hook, said } = await running(t);
  hook("drain");
  hook("post-health", "echo no logins; exit 1");
  hook("undrain");
  hook("post-revert", "echo paged");
  const outcome = await world.controller.step(op(world));
  t.match(outcome, {
    status: "reverted",
    error: {
      code: "hook-failed",
      message: /no logins/,
      context: { hooks: [{ hook: "drain" }, { hook: "undrain" }, { hook: "post-revert", output: "paged" }] },
    },
  });
  t.same(said(), words(["drain", "post-health", "undrain", "post-revert"]));
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
});

t.test("what could be anybody's is refused before anything is touched; what takes too long is ended", async (t) => {
  const { world, hook, said } = await running(t);
  const path = hook("drain");
  chmodSync(path, 0o777);
  t.match(await world.controller.step(op(world)), {
    status: "failed",
    error: { code: "hook-refused", hint: /chmod go-w/ },
  });
  chmodSync(path, 0o644);
  t.match(await world.controller.step(op(world)), { error: { code: "hook-refused", message: /can't be executed/ } });
  if (process.getuid?.() === 0) {
    chmodSync(path, 0o755);
    chownSync(path, 65534, 65534);
    t.match(await world.controller.step(op(world)), { error: { code: "hook-refused", message: /user 65534/ } });
    chownSync(path, 0, 0);
  }
  t.same(said(), []);
  hook("drain", "exec sleep 60");
  const outcome = await world.controller.step(op(world, { hookTimeoutMs: 300 }));
  t.match(outcome, { status: "failed", error: { code: "hook-failed", message: /longer than 300 ms/ } });
  t.equal(world.starts().length, 1);
});

t.test("an undrain that fails says that the host stays drained", async (t) => {
  const { world, hook } = await running(t, "crash");
  hook("drain");
  hook("undrain", "exit 1");
  const outcome = await world.controller.step(op(world));
  t.match(outcome, { status: "failed", retryable: false, error: { code: "undrain-failed", message: /stays drained/ } });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
});

t.test("an agent that is killed while a hook drains gives the host its work back, whatever comes", async (t) => {
  const world = await World.make(t);
  world.install("5.0.0");
  world.install("6.0.0", "crash");
  world.linkTo("5.0.0");
  const file = join(world.dir, "said");
  mkdirSync(join(world.dir, "hooks.d"));
  for (const [name, more] of [
    ["drain", `[ -e ${world.dir}/again ] || { touch ${world.dir}/again; exec sleep 5; }`],
    ["undrain", ""],
  ] as const) {
    writeFileSync(join(world.dir, "hooks.d", name), `#!/bin/sh\necho ${name} >> ${file}\n${more}\n`, { mode: 0o755 });
  }
  const first = world.spawn([AGENT_BIN]);
  await world.controller.step(world.startOp());
  const step = world.controller.id();
  world.controller.send(op(world), { step });
  while (!existsSync(join(world.dir, "again"))) await new Promise((resolve) => setTimeout(resolve, 20));
  first.kill("SIGKILL");
  world.spawn([AGENT_BIN]);
  const { outcome } = await world.controller.outcome(step);
  t.match(outcome, { status: "reverted", error: { code: "service-crashed" } });
  t.same(readFileSync(file, "utf8").trim().split("\n"), ["drain", "drain", "undrain"]);
});

const backupOp = (world: World, id: string, path = join(world.home, "data")): OpOf<"backup"> => ({
  kind: "backup",
  spec: { id, dir: join(world.dir, "b"), items: [{ kind: "file", path, optional: false }], version: "5.0.0" },
  hooks: { service: "svc", timeoutMs: 10_000 },
});
const namesOf = (said: string[]) => said.map((line) => line.split(" ")[0]);

t.test("backups have hooks too; the second runs whatever became of the backup", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-backup", "[ $BELAY_SERVICE = svc ]");
  hook("post-backup");
  const missing = join(world.home, "missing");
  t.match(await world.controller.step(backupOp(world, "b0")), { status: "done" });
  t.match(await world.controller.step(backupOp(world, "b1", missing)), {
    status: "failed",
    error: { code: "backup-source-missing" },
  });
  t.same(namesOf(said()), ["pre-backup", "post-backup", "pre-backup", "post-backup"]);
});

t.test("a backup is not done before its second hook is content, however often that is asked", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-backup");
  hook("post-backup", `[ -e ${world.dir}/content ] || exit 21`);
  const step = (check = false) => world.controller.step(backupOp(world, "b0"), { check });
  t.match(await step(), { status: "failed", retryable: true, error: { code: "hook-not-yet" } });
  t.match(await step(), { status: "failed", retryable: true, error: { code: "hook-not-yet" } });
  t.match(await step(true), { status: "done" });
  writeFileSync(join(world.dir, "content"), "");
  t.match(await step(), { status: "done", changed: false });
  t.same(namesOf(said()), ["pre-backup", "post-backup", "post-backup", "post-backup"]);
});

t.test("an agent that stops after the backup, before its second hook, comes back to that", async (t) => {
  const { world, hook, said } = await running(t);
  hook("pre-backup");
  hook("post-backup", `[ -e ${world.dir}/again ] || { touch ${world.dir}/again; exec sleep 60; }`);
  const step = world.controller.id();
  world.controller.send(backupOp(world, "b0"), { step });
  while (!existsSync(join(world.dir, "again"))) await sleep(20);
  await world.stop();
  await world.start();
  t.match((await world.controller.outcome(step)).outcome, { status: "done", changed: false });
  t.same(namesOf(said()), ["pre-backup", "post-backup", "post-backup"]);
});

t.test("a second hook that fails too doesn't hide why the backup did", async (t) => {
  const { world, hook } = await running(t);
  hook("pre-backup", "echo not while it is noon; exit 21");
  hook("post-backup", "echo nothing to resume; exit 1");
  t.match(await world.controller.step(backupOp(world, "b0")), {
    status: "failed",
    retryable: true,
    error: {
      code: "hook-not-yet",
      message: /noon/,
      context: { hook: "pre-backup", postBackup: { code: "hook-failed", message: /nothing to resume/ } },
    },
  });
});

t.test(
  "a host without hooks notes nothing of them, and one that comes in the middle waits for the next swap",
  async (t) => {
    for (const [mode, status, last] of [
      ["ok", "done", "healthy"],
      ["crash", "reverted", "back-started"],
    ] as const) {
      const { world, hook, said } = await running(t, mode);
      const phases = (): string[] =>
        readFileSync(join(world.stateDir, "journal"), "utf8").match(/(?<="phase":")[a-z-]+/g) ?? [];
      const swap = world.controller.step(op(world, { settleMs: 1_000 }));
      for (let looks = 0; !phases().includes("switching") && looks < 500; looks += 1) await sleep(20);
      for (const name of ["undrain", "post-health", "post-revert"]) hook(name);
      t.match(await swap, { status });
      t.same(said(), [], "nothing was drained");
      const noted = phases();
      t.ok(noted.includes(last));
      t.notOk(noted.some((phase) => /drain|post-/.test(phase)));
    }
  },
);

t.test("a bad version that doesn't end when it is asked to is not waited for as long as a good one", async (t) => {
  const { world, hook } = await running(t, "stubborn");
  hook("post-health", "exit 1");
  t.match(await world.controller.step(op(world, { stopTimeoutMs: 3_600_000 })), {
    status: "reverted",
    error: { code: "hook-failed" },
  });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
});
