import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemdService, systemClock, systemExec } from "@belay/agent";
import t from "tap";

/** A systemctl that answers as the real one does, from a file, and writes down how it was called. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
case "$2" in
  show) cat "$(dirname "$0")/show" ;;
  start) [ ! -e "$(dirname "$0")/broken" ] || { echo "Job for svc.service failed." >&2; exit 1; }
     printf 'MainPID=42\\nNRestarts=0\\nActiveState=active\\nSubState=running\\nLoadState=loaded\\nNeedDaemonReload=no\\n' > "$(dirname "$0")/show" ;;
  stop) [ ! -e "$(dirname "$0")/stuck" ] || { [ -e "$(dirname "$0")/killed" ] || exec sleep 30; } ;;
  kill) touch "$(dirname "$0")/killed" ;;
esac
`;

function fake(t: { teardown: (work: () => void) => void }) {
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
    clock: systemClock,
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
  t.same(calls().slice(2), ["stop svc.service", "kill --signal=SIGKILL svc.service", "stop svc.service"]);
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
