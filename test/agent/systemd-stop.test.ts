import { copyFileSync, readFileSync, readlinkSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";

t.setTimeout(300_000);
const skip = whyNoHosts() ?? false;

t.test("a backup is put back after any stop, also of what systemd calls failed", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { old: "stubborn", fresh: "crash", unit: { RestartSec: "50ms" } });
  const { controller, host } = world;
  const dir = join(world.dir, "backups");
  const items = [{ kind: "file" as const, path: join(world.home, "kept"), optional: false }];
  writeFileSync(join(world.home, "kept"), "kept");
  const spec = { id: "b1", dir, items, version: "5.0.0" };
  t.match(await controller.step({ kind: "backup", spec }), { status: "done" });
  const putBack = async (t: Test, timeoutMs: number) => {
    t.match(await controller.step({ kind: "stop", service: "svc", timeoutMs }), { status: "done" });
    t.equal(await host.show("svc.service", "ActiveState"), "inactive");
    t.match(await controller.step({ kind: "restore", id: "b1", dir, service: "svc" }), { status: "done" });
  };
  await t.test("it doesn't end in time, and is killed", (t) => putBack(t, 500));
  await t.test("it crashed until systemd gave up", async (t) => {
    world.linkTo("6.0.0");
    await host.run(["systemctl", "start", "svc.service"]);
    while ((await host.show("svc.service", "ActiveState")) !== "failed") {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.match(await host.show("svc.service", "Result"), /exit-code|start-limit-hit/);
    await putBack(t, 5_000);
  });
});

t.test("a container's unit of the same name goes on when the host's own is stopped", { skip }, async (t) => {
  const world = await SystemdWorld.running(t);
  const contained = "/sys/fs/cgroup/systemd/lxc/101/ns/system.slice/svc.service";
  const enter = `mkdir -p ${contained} && echo $$$$ >${contained}/cgroup.procs && exec sleep 1000`;
  await world.host.unit("guest.service", `[Service]\nExecStart=/bin/sh -c "${enter}"\n`);
  await world.host.run(["systemctl", "start", "guest.service"]);
  const pid = await world.host.show("guest.service", "MainPID");
  const groups = () => world.host.run(["cat", `/proc/${pid}/cgroup`]);
  while (!(await groups()).includes("/lxc/101/ns/system.slice/svc.service\n")) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.match(await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 5_000 }), { status: "done" });
  t.match(await world.host.run(["cat", `/proc/${pid}/comm`]), /^sleep\n/);
});

t.test("where systemd forgets what a stopped unit left, the agent ends it", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { unit: { KillMode: "process" } });
  const { host, controller } = world;
  const script =
    '#!/bin/sh\ncase "$*" in *" kill "*) echo not loaded >&2; exit 1 ;; *) exec /usr/bin/systemctl "$@" ;; esac\n';
  writeFileSync(join(host.dir, "root/usr/local/bin/systemctl"), script, { mode: 0o755 });
  const group = "/sys/fs/cgroup/systemd/system.slice/svc.service/cgroup.procs";
  await host.run(["sh", "-c", `sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >${group}`]);
  t.match(await controller.step({ kind: "stop", service: "svc", timeoutMs: 5_000 }), { status: "done" });
  t.equal(await host.run(["sh", "-c", "pgrep -c sleep || true"]), "0\n");
});

t.test("a version that brings no unit, or a bad one, is undone (I10)", { skip }, async (t) => {
  const cases: [string, (unit: string) => void][] = [
    ["none", () => {}],
    [
      "a bad one",
      (unit) => {
        writeFileSync(unit, "[Service]\nExecStrat=/bin/true\n");
        // systemd only notices files that are newer than what it read.
        const later = new Date(Date.now() + 10_000);
        utimesSync(unit, later, later);
      },
    ],
  ];
  for (const [name, bring] of cases) {
    for (const how of ["reload", "restart"] as const) {
      await t.test(`${name}, by ${how}`, async (t) => {
        const world = await SystemdWorld.running(t);
        const { host, controller } = world;
        const installed = join(host.dir, "root/etc/systemd/system/svc.service");
        copyFileSync(installed, join(world.versionsDir, "5.0.0/svc.service"));
        rmSync(installed);
        symlinkSync(join(world.link, "svc.service"), installed);
        bring(join(world.versionsDir, "6.0.0/svc.service"));
        await host.run(["systemctl", "daemon-reload"]);
        t.match(await controller.step(world.swapOp("5.0.0", "6.0.0", { how })), {
          status: "reverted",
          error: { code: name === "none" ? "service-unknown" : "unit-unusable" },
        });
        t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"));
        t.equal(await host.show("svc.service", "ActiveState"), "active");
        t.equal(world.startsOf("6.0.0"), 0);
      });
    }
  }
});

t.test("a version's own unit is in force again with it, however much older its file is", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { fresh: "never-ready" });
  const { host, controller } = world;
  const installed = join(host.dir, "root/etc/systemd/system/svc.service");
  const unit = readFileSync(installed, "utf8");
  const past = new Date(Date.now() - 3_600_000);
  for (const version of ["5.0.0", "6.0.0"]) {
    const file = join(world.versionsDir, version, "svc.service");
    writeFileSync(file, `${unit}Environment=UNIT_OF=${version}\n`);
    if (version === "5.0.0") utimesSync(file, past, past);
  }
  rmSync(installed);
  symlinkSync(join(world.link, "svc.service"), installed);
  // What nothing refers to systemd forgets when it is stopped, and reads anew.
  await host.run(["systemctl", "add-wants", "multi-user.target", "svc.service"]);
  await host.run(["systemctl", "daemon-reload"]);
  t.match(await controller.step(world.swapOp("5.0.0", "6.0.0", { how: "restart", startTimeoutMs: 3_000 })), {
    status: "reverted",
  });
  t.equal(world.startsOf("6.0.0"), 1);
  t.match(await host.show("svc.service", "Environment"), "UNIT_OF=5.0.0");
  t.equal(await host.show("svc.service", "ActiveState"), "active");
});

t.test("a unit that somebody masks while its new version settles goes back as far as it can", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { fresh: "never-ready" });
  const step = world.controller.id();
  world.controller.send(world.swapOp("5.0.0", "6.0.0", { startTimeoutMs: 3_000 }), { step });
  while (world.startsOf("6.0.0") === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  const installed = join(world.host.dir, "root/etc/systemd/system/svc.service");
  rmSync(installed);
  symlinkSync("/dev/null", installed);
  await world.host.run(["systemctl", "daemon-reload"]);
  const { outcome } = await world.controller.outcome(step);
  t.match(outcome, { status: "failed", error: { code: "revert-failed", message: /somebody masked the unit/ } });
  t.equal(readlinkSync(world.link), join(world.versionsDir, "5.0.0"), "the link leads to the old version");
  t.equal(await world.host.show("svc.service", "ActiveState"), "inactive", "nothing of the new one runs");
});

t.test("a stop, too, asks first whether what it stops could be started again", { skip }, async (t) => {
  const world = await SystemdWorld.running(t);
  const pid = await world.mainPid();
  await world.host.unit("svc.service", "[Service]\nExecStrat=/bin/true\n");
  t.match(await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 5_000 }), {
    status: "failed",
    error: { code: "unit-unusable" },
  });
  t.equal(await world.mainPid(), pid);
});
