import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";
import type { Mode } from "./support/world.js";

t.setTimeout(300_000);
const skip = whyNoHosts() ?? false;
/** What the issue promises from the moment a bad version is noticed. */
const BACK_WITHIN_MS = 30_000;

const wholeUnit = (world: SystemdWorld) =>
  world.host.run(["systemctl", "show", "-p", "MainPID,NRestarts,ActiveState", "svc.service"]);

t.test("a reload changes the main process while the old one drains, and nobody restarts it", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { oldMore: { drainMs: 4000 } });
  const old = await world.mainPid();
  const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { how: "reload" }));
  t.match(outcome, { status: "done", result: { running: "6.0.0" } });
  const facts = await world.controller.step({ kind: "facts", probe: world.probe() });
  const pid = Number(readFileSync(join(world.home, "pid"), "utf8"));
  t.not(pid, old);
  t.match(facts, { result: { running: "6.0.0", healthy: true, service: { pid, restarts: 0 } } });
  t.same(
    world.starts().map((line) => line.split(" ")[0]),
    ["5.0.0", "6.0.0"],
  );
  // systemd takes the successor up when the old process has drained.
  for (let tries = 0; tries < 100 && (await world.mainPid()) !== pid; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.match(await wholeUnit(world), new RegExp(`MainPID=${pid}\\n`));
  t.match(await wholeUnit(world), /NRestarts=0\n/);
});

t.test("where a reload can't work, the service is restarted", { skip }, async (t) => {
  const cases: [string, Parameters<typeof SystemdWorld.running>[1], (world: SystemdWorld) => Promise<void>][] = [
    ["it ignores HUP", { old: "deaf" }, async () => {}],
    ["the unit has no ExecReload", { unit: { ExecReload: "" } }, async () => {}],
    ["ExecReload fails", { unit: { ExecReload: "/bin/false" } }, async () => {}],
    [
      "the PID file is stale",
      { unit: { ExecReload: "/bin/sh -c 'exec pkill -HUP -F PIDFILE'" } },
      async (world) => {
        await world.unit({ ExecReload: `/bin/sh -c "exec pkill -HUP -F ${world.home}/pid"` });
        writeFileSync(join(world.home, "pid"), "999999\n");
        const preflight = await world.controller.step({
          kind: "preflight",
          probe: world.probe(),
          expect: "5.0.0",
          needs: [],
          healthy: true,
        });
        t.match(preflight, { status: "failed", error: { code: "unhealthy", message: /PID file .* is stale.*999999/ } });
      },
    ],
  ];
  for (const [name, modes, before] of cases) {
    await t.test(name, async (t) => {
      const world = await SystemdWorld.running(t, modes);
      await before(world);
      const op = world.swapOp("5.0.0", "6.0.0", { how: "reload", startTimeoutMs: 5000 });
      t.match(await world.controller.step(op), { status: "done", result: { running: "6.0.0" } });
      t.equal(world.startsOf("6.0.0"), 1);
      t.equal(readFileSync(join(world.home, "pid"), "utf8").trim(), String(await world.mainPid()));
    });
  }
});

t.test("what doesn't settle is undone, though belayd is gone and systemd's start limit is hit", { skip }, async (t) => {
  const limit = { RestartSec: "50ms" };
  const cases: [string, Mode, object, Record<string, string>, object][] = [
    ["it crashes at once", "crash", {}, {}, {}],
    ["it crashes at once until systemd gives up", "crash", {}, limit, {}],
    ["it crashes after a while", "crash-after", { ms: 1000 }, {}, { settleMs: 5000 }],
    [
      "its successor crashes while the old one drains",
      "crash-after",
      { ms: 1000 },
      {},
      { settleMs: 5000, how: "reload" },
    ],
    ["it never becomes ready", "never-ready", {}, {}, { startTimeoutMs: 2000 }],
    [
      "it ignores SIGTERM and is never ready",
      "never-ready",
      {},
      { TimeoutStopSec: "2" },
      { startTimeoutMs: 1000, how: "reload" },
    ],
  ];
  for (const [name, fresh, more, unit, op] of cases) {
    await t.test(name, async (t) => {
      const world = await SystemdWorld.running(t, { fresh, more, unit, oldMore: { drainMs: 20_000 } });
      const step = world.controller.id();
      world.controller.send(world.swapOp("5.0.0", "6.0.0", op), { step });
      await world.controller.until(() =>
        world.controller.told.find((each) => each.type === "accepted" && each.step === step),
      );
      world.controller.greeting = (socket) => socket.terminate();
      world.controller.socket?.terminate();
      const noticed = Date.now();
      while (world.startsOf("5.0.0") < 2) {
        if (Date.now() - noticed > BACK_WITHIN_MS) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      t.equal(world.startsOf("5.0.0"), 2, "the old one was started again, once, by the agent alone");
      world.controller.greeting = null;
      const { outcome } = await world.controller.outcome(step);
      t.match(outcome, { status: "reverted", error: { code: /^(service-crashed|unhealthy|systemctl-failed)$/ } });
      t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
      t.match(await wholeUnit(world), /ActiveState=active/);
      const left = (await world.host.run(["pgrep", "-fc", `${world.link}/svc`])).trim();
      t.equal(left, "1", "no process of the bad one is left");
    });
  }
});

t.test("a unit file that was changed by hand is read again", { skip }, async (t) => {
  const world = await SystemdWorld.running(t);
  const file = join(world.host.dir, "root/etc/systemd/system/svc.service");
  writeFileSync(file, readFileSync(file, "utf8").replace("HOME_DIR", "NEW_WORD=yes HOME_DIR"));
  t.equal(await world.host.show("svc.service", "NeedDaemonReload"), "yes");
  t.match(await world.controller.step(world.swapOp("5.0.0", "6.0.0", {})), { status: "done" });
  t.equal(await world.host.show("svc.service", "NeedDaemonReload"), "no");
  t.match(readFileSync(`/proc/${await outsidePid(world)}/environ`, "latin1"), /NEW_WORD=yes/);
});

t.test("a unit file that was made useless is found before anything is touched (I10)", { skip }, async (t) => {
  const world = await SystemdWorld.running(t);
  const pid = await world.mainPid();
  const file = join(world.host.dir, "root/etc/systemd/system/svc.service");
  writeFileSync(file, readFileSync(file, "utf8").replace(/^ExecStart=/m, "ExecStrat="));
  const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { how: "reload" }));
  t.match(outcome, { status: "failed", error: { code: "unit-unusable", message: /svc\.service/ } });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"), "the link leads where it led");
  t.equal(await world.mainPid(), pid, "the service goes on");
});

t.test("KillMode=process leaves no old process beside the new one", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { unit: { KillMode: "process" }, oldMore: { drainMs: 60_000 } });
  await world.host.run(["systemctl", "reload", "svc.service"]);
  while (world.startsOf("5.0.0") < 2) await new Promise((resolve) => setTimeout(resolve, 50));
  t.match(await world.controller.step(world.swapOp("5.0.0", "6.0.0", {})), { status: "done" });
  t.equal((await world.host.run(["pgrep", "-fc", `${world.link}/svc`])).trim(), "1");
});

/** The service's pid as this test sees it. */
async function outsidePid(world: SystemdWorld): Promise<number> {
  const mark = `HOME_DIR=${world.home}`;
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      const environ = readFileSync(`/proc/${name}/environ`, "latin1");
      const cmdline = readFileSync(`/proc/${name}/cmdline`, "latin1");
      if (environ.includes(mark) && cmdline.includes(join(world.link, "svc"))) return Number(name);
    } catch {
      // Gone meanwhile.
    }
  }
  throw new Error("the service is not to be found");
}
