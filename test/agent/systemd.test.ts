import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, isBelow, SystemdService, silentLogger, systemClock, systemExec } from "@belay/agent";
import t from "tap";

/** A systemctl that answers as the real one does, from a file, and writes down how it was called. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
case "$2" in
  show) cat "$(dirname "$0")/show" ;;
  start) [ ! -e "$(dirname "$0")/broken" ] || { echo "Job for svc.service failed." >&2; exit 1; }
     printf 'MainPID=42\\nNRestarts=0\\nActiveState=active\\nSubState=running\\nLoadState=loaded\\nNeedDaemonReload=no\\n' > "$(dirname "$0")/show" ;;
  reset-failed) sed -i s/ActiveState=failed/ActiveState=inactive/ "$(dirname "$0")/show" ;;
  stop) [ ! -e "$(dirname "$0")/stuck" ] || { [ -e "$(dirname "$0")/killed" ] || exec sleep 30; } ;;
  kill) touch "$(dirname "$0")/killed" ;;
esac
`;

function fake(t: { teardown: (work: () => void) => void }, clock: Clock = systemClock) {
  const dir = mkdtempSync(join(tmpdir(), "belay-systemd-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const systemctl = join(dir, "systemctl");
  writeFileSync(systemctl, SYSTEMCTL);
  chmodSync(systemctl, 0o755);
  const show = (more: Record<string, string>) => {
    const all = {
      MainPID: "0",
      NRestarts: "0",
      Result: "success",
      LoadState: "loaded",
      NeedDaemonReload: "no",
      ...more,
    };
    writeFileSync(
      join(dir, "show"),
      Object.entries(all)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(""),
    );
  };
  const calls = () => {
    const file = join(dir, "calls");
    const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
    return lines.map((line) => line.replace("--no-ask-password ", "")).filter((line) => !line.startsWith("show"));
  };
  const service = new SystemdService({
    name: "svc",
    unit: "svc.service",
    exec: systemExec,
    clock,
    log: silentLogger,
    stateDir: dir,
    systemctl,
  });
  return { dir, show, calls, service };
}

t.test("every state in systemd's words", async (t) => {
  const { show, service } = fake(t);
  const states: [Record<string, string>, object][] = [
    [
      { ActiveState: "active", SubState: "running", MainPID: "77", NRestarts: "2" },
      { state: "running", pid: 77, restarts: 2 },
    ],
    [
      { ActiveState: "reloading", SubState: "reload", MainPID: "77" },
      { state: "running", pid: 77 },
    ],
    [
      { ActiveState: "inactive", SubState: "dead" },
      { state: "stopped", pid: null },
    ],
    [{ ActiveState: "inactive", SubState: "dead", Job: "117" }, { state: "unknown" }],
    [
      { ActiveState: "failed", SubState: "failed", Result: "exit-code" },
      { state: "failed", pid: null },
    ],
    [
      { ActiveState: "activating", SubState: "auto-restart", NRestarts: "1" },
      { state: "failed", restarts: 1 },
    ],
    [{ ActiveState: "activating", SubState: "start", MainPID: "78" }, { state: "unknown" }],
    [{ ActiveState: "deactivating", SubState: "stop-sigterm", MainPID: "77" }, { state: "unknown" }],
  ];
  for (const [shown, status] of states) {
    show(shown);
    t.match(await service.status(), status, JSON.stringify(shown));
  }
});

t.test("start: forgets old failures, reads a changed unit again, leaves a running service alone", async (t) => {
  const { show, calls, service } = fake(t);
  show({ ActiveState: "failed", SubState: "failed", NeedDaemonReload: "yes" });
  await service.start();
  t.same(calls(), ["daemon-reload", "reset-failed svc.service", "start svc.service"]);
  await service.start();
  t.equal(calls().length, 3);
});

t.test(
  "a reload that was looked ahead to asks systemd nothing, unless the unit's files are others by then",
  async (t) => {
    let late = 0;
    const { dir, show, calls, service } = fake(t, { ...systemClock, ticks: () => systemClock.ticks() + late });
    const asked = () => readFileSync(join(dir, "calls"), "utf8").trim().split("\n").length;
    const [unit, dropIn, versions] = [join(dir, "svc.service"), join(dir, "more.conf"), join(dir, "current")];
    writeFileSync(join(dir, "svc.service-1"), "[Service]\n");
    writeFileSync(join(dir, "svc.service-2"), "[Service]\n# another\n");
    symlinkSync("svc.service-1", versions);
    symlinkSync("current", unit);
    writeFileSync(dropIn, "[Service]\n");
    const running = { ActiveState: "active", SubState: "running", MainPID: "42" };
    show({ ...running, FragmentPath: unit, DropInPaths: dropIn });
    /** How many times systemctl was called for a reload, when `meanwhile` happened after the look ahead. */
    const callsOf = async (meanwhile: () => void) => {
      t.match(await service.beforeReload(false), { state: "running", pid: 42 });
      meanwhile();
      const before = asked();
      await service.reload();
      return asked() - before;
    };
    t.equal(await callsOf(() => {}), 1, "the reload itself");
    const swapped = () => {
      rmSync(versions);
      symlinkSync("svc.service-2", versions);
    };
    // Asked, told to read its files, asked again: it notices only those that are newer.
    t.equal(await callsOf(swapped), 4, "the link that the unit lies behind was switched");
    t.equal(await callsOf(() => writeFileSync(dropIn, "[Service]\nNice=5\n")), 4);
    t.equal(await callsOf(() => rmSync(dropIn)), 4);
    const lateness = () => {
      late = 11_000;
    };
    t.equal(await callsOf(lateness), 2, "too long ago");
    const before = asked();
    await service.reload();
    t.equal(asked() - before, 2, "what was seen counts once");
    t.same(new Set(calls()), new Set(["reload svc.service", "daemon-reload"]));
  },
);

t.test("what systemd has just said is not asked again, until something may have made it untrue", async (t) => {
  let late = 0;
  const { dir, show, calls, service } = fake(t, { ...systemClock, ticks: () => systemClock.ticks() + late });
  const unit = join(dir, "svc.service");
  writeFileSync(unit, "[Service]\n");
  const running = { ActiveState: "active", SubState: "running", FragmentPath: unit };
  const asked = () => readFileSync(join(dir, "calls"), "utf8").split(" show ").length - 1;
  const questions = async (ask: () => Promise<unknown>) => {
    const before = asked();
    await ask();
    return asked() - before;
  };
  const ahead = async () => {
    await service.needDefinition();
    return service.beforeReload(true);
  };
  show({ ...running, MainPID: "42" });
  await service.status();
  t.equal(await questions(ahead), 0);
  show({ ...running, MainPID: "43" });
  t.equal(await questions(() => service.status()), 1, "who looks gets to see");
  t.match(await service.beforeReload(true), { pid: 43 });
  t.equal(await questions(() => service.beforeReload(false)), 1, "somebody's hook was run meanwhile");
  writeFileSync(unit, "[Service]\nNice=5\n");
  t.equal(await questions(ahead), 2, "another unit file, asked about before and after systemd has read it");
  t.same(calls(), ["daemon-reload"]);
  late = 1_500;
  t.equal(await questions(ahead), 1, "a while ago");
  show({ ...running, MainPID: "43", NeedDaemonReload: "yes" });
  await service.status();
  await service.needDefinition();
  t.same(
    calls(),
    ["daemon-reload", "daemon-reload"],
    "systemd's own word is no good where it has not read the unit file",
  );
  show({ ...running, MainPID: "43" });
  await service.stop(1_000);
  show({ ActiveState: "inactive", FragmentPath: unit });
  t.match(await service.needDefinition(), { state: "stopped" }, "stopped meanwhile");
});

t.test("stop and reload", async (t) => {
  const { dir, show, calls, service } = fake(t);
  show({ ActiveState: "inactive" });
  await service.stop(1000);
  t.same(calls(), [], "stopped already");
  show({ ActiveState: "active", SubState: "running", MainPID: "42", NeedDaemonReload: "yes" });
  await service.reload();
  t.same(calls(), ["daemon-reload", "reload svc.service"]);
  show({ ActiveState: "active", SubState: "running", MainPID: "42" });
  writeFileSync(join(dir, "stuck"), "");
  await service.stop(300);
  t.same(calls().slice(2), [
    "stop svc.service",
    "kill --signal=SIGKILL svc.service",
    "stop svc.service",
    "reset-failed svc.service",
  ]);
});

t.test("what was stopped is stopped, though it failed, and its failures are forgotten once", async (t) => {
  let late = 0;
  const { show, calls, service } = fake(t, { ...systemClock, ticks: () => systemClock.ticks() + late });
  show({ ActiveState: "failed", SubState: "failed", Result: "start-limit-hit" });
  await service.stop(1000);
  t.match(await service.status(), { state: "stopped" });
  await service.start();
  t.same(calls(), ["stop svc.service", "reset-failed svc.service", "start svc.service"]);
  show({ ActiveState: "active", SubState: "running", MainPID: "42" });
  await service.stop(1000);
  show({ ActiveState: "inactive" });
  late = 11_000;
  await service.start();
  t.same(calls().slice(3), [
    "stop svc.service",
    "reset-failed svc.service",
    "reset-failed svc.service",
    "start svc.service",
  ]);
});

t.test("failures say what systemd said, and where to look", async (t) => {
  const { dir, show, service } = fake(t);
  show({ ActiveState: "inactive", LoadState: "not-found" });
  await t.rejects(service.start(), { code: "service-unknown" });
  show({ ActiveState: "inactive" });
  writeFileSync(join(dir, "broken"), "");
  await t.rejects(service.start(), {
    code: "systemctl-failed",
    message: /Job for svc.service failed/,
    hint: /journalctl -u svc/,
  });
});

t.test("a unit that can't be reloaded says so, and is not signalled", async (t) => {
  const { dir, show, calls, service } = fake(t);
  const runs = { ActiveState: "active", SubState: "running", MainPID: "42" };
  show({ ...runs, CanReload: "no" });
  await t.rejects(service.reload(), { code: "service-cannot-reload", message: /no ExecReload/ });
  show({ ...runs, PIDFile: join(dir, "pid"), ControlGroup: "/system.slice/svc.service" });
  t.match(await service.status(), { pid: 42, ailments: [/PID file .* is not there/] });
  writeFileSync(join(dir, "pid"), "1\n");
  t.match(await service.status(), { pid: 42, ailments: [/stale: it says PID 1, which is no process of it, and 42/] });
  writeFileSync(join(dir, "pid"), "42\n");
  t.match(await service.status(), { pid: 42, ailments: [] });
  t.same(calls(), []);
});

t.test("a start doesn't wait for RestartSec", async (t) => {
  const { show, calls, service } = fake(t);
  show({ ActiveState: "activating", SubState: "auto-restart" });
  await service.start();
  t.same(calls(), ["stop svc.service", "reset-failed svc.service", "start svc.service"]);
});

t.test("only this systemd's own control groups count", async (t) => {
  const group = "/system.slice/teleport.service";
  const cases: [string, string, string, boolean][] = [
    ["a host", "0::/init.scope", `0::${group}`, true],
    ["a group that was delegated", "0::/init.scope", `0::${group}/session/1`, true],
    ["a container's unit of the same name", "0::/init.scope", `0::/lxc/101/ns${group}`, false],
    ["a unit whose name begins alike", "0::/init.scope", `0::${group}d`, false],
    ["the host is a container", "0::/lxc/101/ns/init.scope", `0::/lxc/101/ns${group}`, true],
    ["the host is a container: one in it", "0::/lxc/101/ns/init.scope", `0::/lxc/101/ns/lxc/7${group}`, false],
    ["the host is a container: another one", "0::/lxc/101/ns/init.scope", `0::/lxc/102/ns${group}`, false],
    ["process 1 is in no scope", "0::/", `0::${group}`, true],
    [
      "several hierarchies",
      "9:name=systemd:/payload/init.scope\n8:pids:/\n0::/payload",
      `9:name=systemd:/payload${group}\n8:pids:/\n0::/payload`,
      true,
    ],
    [
      "several hierarchies: a container",
      "9:name=systemd:/init.scope\n8:pids:/",
      `9:name=systemd:/lxc/101${group}\n8:pids:/lxc/101${group}`,
      false,
    ],
    [
      "another hierarchy's top",
      "9:name=systemd:/a/init.scope\n8:pids:/b",
      `9:name=systemd:/b${group}\n8:pids:/a${group}`,
      false,
    ],
  ];
  for (const [name, init, its, belongs] of cases) t.equal(isBelow(group, `${its}\n`, `${init}\n`), belongs, name);
  t.equal(isBelow("", "0::/lxc\n", "0::/init.scope\n"), false, "systemd names no group");
});
