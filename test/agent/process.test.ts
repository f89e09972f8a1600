import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ProcessService, parseConfig, silentLogger, systemClock, systemExec } from "@belay/agent";
import type { HostFacts } from "@belay/shared";
import t from "tap";
import { type Mode, World } from "./support/world.js";

async function service(t: Parameters<typeof World.make>[0], mode: Mode = "ok", more: object = {}) {
  const world = await World.make(t);
  world.install("5.0.0", mode, more);
  world.linkTo("5.0.0");
  const open = () => {
    const config = parseConfig(world.config(), "agent.yaml").services.get("svc");
    if (config?.manager !== "process") throw new Error("not a process");
    return ProcessService.open({
      name: "svc",
      config,
      stateDir: world.stateDir,
      clock: systemClock,
      exec: systemExec,
      log: silentLogger,
      env: { PATH: process.env.PATH ?? "" },
      changed: () => {},
    });
  };
  return { world, open };
}

async function eventually(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  const until = Date.now() + 20_000;
  while (!(await look())) {
    if (Date.now() > until) throw new Error(`never: ${what}`);
    await systemClock.sleep(10);
  }
}

/** Real processes on shared cores. */
t.setTimeout(120_000);

t.test("start and stop are idempotent, and stay done", async (t) => {
  const { world, open } = await service(t);
  const first = await open();
  t.same(await first.status(), { state: "stopped", pid: null, restarts: 0, ailments: [] });
  await Promise.all([first.start(), first.start()]);
  await eventually("it started", () => existsSync(join(world.home, "pid")));
  t.match(await first.status(), { state: "running", restarts: 0, ailments: [] });
  t.equal(world.starts().length, 1);
  await first.close();
  t.equal(world.servicePids().length, 1, "the service outlives its supervisor");

  const second = await open();
  await second.start();
  t.equal(world.starts().length, 1, "adopted, not started again (I14)");
  await second.stop(3000);
  await second.stop(3000);
  t.same(world.servicePids(), []);
  t.equal((await second.status()).state, "stopped");
  await second.close();

  const third = await open();
  await systemClock.sleep(500);
  t.equal(world.starts().length, 1, "what was stopped on purpose stays stopped");
  await third.close();
});

t.test("a killed agent's services are found again, once, by the mark they carry (I14)", async (t) => {
  const { world } = await service(t);
  world.initially = "running";
  const { controller } = world;
  const agent = world.spawn();
  const look = { kind: "health", probe: world.probe(), expect: "5.0.0", settleMs: 300, timeoutMs: 10_000 } as const;
  const before = (await controller.step(look)) as { result: HostFacts };
  agent.kill("SIGKILL");
  await once(agent, "exit");
  t.equal(world.servicePids().length, 1);
  controller.socket = null;
  world.spawn();
  const health = await controller.step(look);
  t.match(health, {
    status: "done",
    result: { service: { state: "running", pid: before.result.service.pid, restarts: 0 } },
  });
  t.equal(world.starts().length, 1);
});

t.test("a crash is seen, counted and repaired, also one that happened while nobody watched", async (t) => {
  const { world, open } = await service(t);
  const first = await open();
  await first.start();
  await eventually("it started", () => existsSync(join(world.home, "pid")));
  const { pid } = await first.status();
  process.kill(pid ?? 0, "SIGKILL");
  await eventually(
    "it was restarted",
    async () => (await first.status()).restarts === 1 && world.starts().length === 2,
  );
  await first.close();
  for (const each of world.servicePids()) process.kill(each, "SIGKILL");
  const second = await open();
  await eventually(
    "it was restarted again",
    async () => (await second.status()).restarts === 2 && world.starts().length === 3,
  );
  t.equal(world.servicePids().length, 1);
  await second.start();
  t.equal(world.starts().length, 3, "running already");
  await second.close();
});

t.test("a crash is told to the controller at once, not with the next regular facts", async (t) => {
  const { world } = await service(t);
  const { controller } = world;
  world.initially = "running";
  await world.start();
  const look = { kind: "health", probe: world.probe(), expect: "5.0.0", settleMs: 0, timeoutMs: 10_000 } as const;
  const { result } = (await controller.step(look)) as { result: HostFacts };
  const told = controller.told.length;
  process.kill(result.service.pid ?? 0, "SIGKILL");
  const later = () =>
    controller.told.slice(told).flatMap((each) => (each.type === "facts" ? [each.facts.service] : []));
  await controller.until(() => later().some((each) => each.state === "failed"));
  await controller.until(() => later().some((each) => each.state === "running" && each.restarts === 1));
});

t.test("a zombie is not alive", async (t) => {
  const { world, open } = await service(t);
  world.restartDelayMs = 60_000;
  // Its parent never asks for it; only the child carries the mark.
  const script = `BELAY_SERVICE=${join(world.stateDir, "svc")} sleep 1 & exec sleep 60`;
  const parent = spawn("sh", ["-c", script], { stdio: "ignore" });
  t.teardown(() => void parent.kill("SIGKILL"));
  await eventually("the child carries the mark", () => world.servicePids().length === 1);
  const [child] = world.servicePids();
  const adopted = await open();
  t.match(await adopted.status(), { state: "running", pid: child });
  await eventually("the child is a zombie", () => / Z /.test(readFileSync(`/proc/${child}/stat`, "latin1")));
  t.match(await adopted.status(), { state: "failed", pid: null });
  await adopted.close();
});

t.test("between a crash and the restart it is failed", async (t) => {
  const { world, open } = await service(t, "crash");
  world.restartDelayMs = 60_000;
  const watched = await open();
  await watched.start();
  await eventually("it is seen to have failed", async () => (await watched.status()).state === "failed");
  t.equal((await watched.status()).pid, null);
  await watched.close();
});

t.test("a service that ignores SIGTERM is killed", async (t) => {
  const { world, open } = await service(t, "stubborn");
  const watched = await open();
  await watched.start();
  await eventually("it started", () => existsSync(join(world.home, "pid")));
  await watched.stop(200);
  t.same(world.servicePids(), []);
  await watched.close();
});

t.test("reload: the pid file names the new main process", async (t) => {
  const { world, open } = await service(t);
  const watched = await open();
  await watched.start();
  await eventually("it started", () => existsSync(join(world.home, "pid")));
  const before = (await watched.status()).pid;
  await watched.reload();
  await eventually("another process is the main one", async () => {
    const { pid } = await watched.status();
    return pid !== null && pid !== before && readFileSync(join(world.home, "pid"), "utf8").trim() === String(pid);
  });
  await eventually("the old one is gone", () => world.servicePids().length === 1);
  t.match(await watched.status(), { state: "running", restarts: 0, ailments: [] });
  await watched.close();
});

t.test("a pid file that names somebody else is not believed", async (t) => {
  const { world, open } = await service(t);
  const watched = await open();
  await watched.start();
  await eventually("it started", () => existsSync(join(world.home, "pid")));
  const { pid } = await watched.status();
  writeFileSync(join(world.home, "pid"), `${process.pid}\n`);
  t.equal((await watched.status()).pid, pid, "the oldest marked process is the main one");
  rmSync(join(world.home, "pid"));
  t.equal((await watched.status()).pid, pid);
  // Were the pid file believed, this would stop the test itself.
  writeFileSync(join(world.home, "pid"), `${process.pid}\n`);
  await watched.stop(3000);
  t.same(world.servicePids(), []);
  await watched.close();
});
