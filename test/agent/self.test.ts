import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Clock,
  type Exec,
  openSelf,
  silentLogger,
  systemClock,
  systemdRestart,
  UpgradeFiles,
  watchUpgrade,
} from "@belay/agent";
import t, { type Test } from "tap";

/** Time that passes only when somebody sleeps, and what happens meanwhile. */
class Hourglass implements Clock {
  at = 0;
  during: () => void | Promise<void> = () => {};

  now(): number {
    return this.at;
  }

  ticks(): number {
    return this.at;
  }

  async sleep(ms: number): Promise<void> {
    this.at += ms;
    await this.during();
  }

  timer(): () => void {
    return () => {};
  }
}

function place(t: Test) {
  const dir = mkdtempSync(join(tmpdir(), "belay-net-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const versionsDir = join(dir, "versions");
  for (const version of ["0.1.0", "0.2.0"]) mkdirSync(join(versionsDir, version), { recursive: true });
  const link = join(dir, "current");
  symlinkSync(join(versionsDir, "0.2.0"), link);
  const files = new UpgradeFiles(dir);
  const clock = new Hourglass();
  const restarts: number[] = [];
  const upgrade = { step: "r/s/h/0/1", from: "0.1.0", to: "0.2.0", link, versionsDir, returnMs: 10_000 };
  const watch = (restartAgent = async () => void restarts.push(clock.at)) =>
    watchUpgrade({ files, clock, log: silentLogger, restartAgent, signal: new AbortController().signal });
  const left = () => readdirSync(dir).filter((name) => name.startsWith("upgrade-") && !name.includes("watched"));
  const leads = () => readlinkSync(link).split("/").at(-1);
  return { dir, files, clock, restarts, upgrade, watch, left, leads };
}

t.test("the watcher: what holds is left alone, and so is what was never begun", async (t) => {
  const { files, clock, restarts, upgrade, watch, left, leads } = place(t);
  await watch();
  await files.announce(upgrade);
  clock.during = async () => {
    if (clock.at >= 9_000 && (await files.pending()) !== null) t.ok(await files.settle());
  };
  await watch();
  t.same([restarts, left(), leads()], [[], [], "0.2.0"]);
  t.notOk(await files.takeBack(), "it can't be taken back any more");
});

t.test("the watcher: what doesn't hold in its time is taken back, once", async (t) => {
  const { files, restarts, upgrade, watch, left, leads } = place(t);
  await files.announce(upgrade);
  await watch();
  t.same([restarts, left(), leads()], [[10_000], ["upgrade-returned.json"], "0.1.0"]);
  t.notOk(await files.settle(), "it can't prove itself any more");
  await watch();
  t.equal(restarts.length, 1, "that it returned is for the old agent to see, and nothing to do again");
  await files.forgetReturn();
  t.same(left(), []);
});

t.test("the watcher: one that ends on the way back is followed by one that finishes it", async (t) => {
  const { files, restarts, upgrade, watch, left, leads } = place(t);
  await files.announce(upgrade);
  await t.rejects(
    watch(async () => Promise.reject(new Error("killed here"))),
    /killed here/,
  );
  t.same([left(), leads()], [["upgrade-returning.json"], "0.1.0"]);
  await watch();
  t.same([restarts.length, left()], [1, ["upgrade-returned.json"]]);
});

t.test("the watcher: an upgrade that is announced anew has its whole time again", async (t) => {
  const { files, clock, restarts, upgrade, watch } = place(t);
  await files.announce(upgrade);
  let again = false;
  clock.during = async () => {
    if (again || clock.at < 8_000) return;
    again = true;
    await files.announce(upgrade);
    t.notOk(await files.isWatched(upgrade.step), "nobody may count on the watch of before");
  };
  await watch();
  t.ok(await files.isWatched(upgrade.step));
  t.ok((restarts[0] ?? 0) >= 18_000, `taken back at ${restarts[0]}`);
});

t.test("files that no agent wrote are named, not guessed at", async (t) => {
  const { dir, watch } = place(t);
  writeFileSync(join(dir, "upgrade-pending.json"), "{");
  await t.rejects(watch(), { code: "upgrade-state-corrupt", message: /upgrade-pending/ });
});

function systemctl(answers: Readonly<Record<string, number>> = {}) {
  const calls: string[] = [];
  const exec: Exec = {
    async run(argv) {
      calls.push(argv.filter((word) => word !== "--no-ask-password").join(" "));
      const code = Object.entries(answers).find(([word]) => argv.includes(word))?.[1] ?? 0;
      return { code, signal: null, stdout: "", stderr: code === 0 ? "" : "no such unit" };
    },
    filter: () => {
      throw new Error("filters nothing");
    },
    launch: async () => Promise.reject(new Error("launches nothing")),
  };
  return { calls, exec };
}

const SYSTEMD = { manager: "systemd", unit: "belay-agent.service", rescue: "belay-agent-rescue.service" } as const;

t.test("under systemd the old agent is put in place of one that crashes, hangs or ignores its end", async (t) => {
  const { calls, exec } = systemctl({ kill: 1, "reset-failed": 1 });
  await systemdRestart(SYSTEMD, exec)();
  t.same(calls, [
    "systemctl kill --signal=SIGKILL belay-agent.service",
    "systemctl reset-failed belay-agent.service",
    "systemctl restart --no-block belay-agent.service",
  ]);
  await t.rejects(systemdRestart(SYSTEMD, systemctl({ restart: 1 }).exec)(), {
    code: "systemctl-failed",
    message: /no such unit/,
  });
});

t.test("under systemd the watcher is a unit of its own, and must say that it watches", async (t) => {
  const { files, upgrade, watch } = place(t);
  const parts = { configFile: "/etc/belay/agent.yaml", leave: () => {}, servedMs: () => null, lastTrouble: () => null };
  const { calls, exec } = systemctl();
  await files.announce(upgrade);
  const clock = new Hourglass();
  const silent = openSelf(SYSTEMD, { exec, clock, files }, parts);
  await t.rejects(silent.arm(upgrade.step), { code: "rescue-not-ready", message: /belay-agent-rescue/ });
  t.same(calls, ["systemctl start belay-agent-rescue.service"]);
  const missing = openSelf(SYSTEMD, { exec: systemctl({ start: 5 }).exec, clock, files }, parts);
  await t.rejects(missing.arm(upgrade.step), { code: "rescue-not-ready", message: /no such unit/ });
  const armed = openSelf(SYSTEMD, { exec, clock: systemClock, files }, parts).arm(upgrade.step);
  await watch();
  await armed;
  t.pass("it watches");
});
