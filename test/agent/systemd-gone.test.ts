import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";
import type { Mode } from "./support/world.js";

t.setTimeout(300_000);
const skip = whyNoHosts() ?? false;
/** What a new version may take to start, and what nobody should wait for: at its end it would be called unhealthy, not crashed. */
const LONG_START_MS = 120_000;

/** Lines of the unit's own section, before those that are there. */
async function addToUnit(world: SystemdWorld, line: string): Promise<void> {
  const text = await world.host.run(["cat", "/etc/systemd/system/svc.service"]);
  await world.host.unit("svc.service", `[Unit]\n${line}\n${text}`);
}

t.test("a version that ends without an error, or is never started, is not waited for", { skip }, async (t) => {
  const cases: [what: string, fresh: Mode, before: (world: SystemdWorld) => Promise<void>][] = [
    ["it exits with 0", "ends", async () => {}],
    [
      "a condition of its unit isn't met",
      "ok",
      async (world) => {
        writeFileSync(join(world.versionsDir, "5.0.0", "only-5"), "");
        await addToUnit(world, `ConditionPathExists=${world.link}/only-5`);
      },
    ],
  ];
  for (const [what, fresh, before] of cases) {
    await t.test(what, async (t) => {
      const world = await SystemdWorld.running(t, { fresh, unit: { Restart: "on-failure" } });
      await before(world);
      const outcome = await world.controller.step(world.swapOp("5.0.0", "6.0.0", { startTimeoutMs: LONG_START_MS }));
      t.match(outcome, { status: "reverted", error: { code: "service-crashed", context: { state: "stopped" } } });
      t.equal(world.startsOf("5.0.0"), 2);
      t.match(await world.host.show("svc.service", "ActiveState"), /^active/);
    });
  }
});

t.test("a service that a boot has yet to start is not stopped, until it is", { skip }, async (t) => {
  const world = await SystemdWorld.running(t);
  await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 3_000 });
  await world.host.unit("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 600\n");
  await addToUnit(world, "After=slow.service");
  await world.host.run(["systemctl", "start", "--no-block", "slow.service", "svc.service"]);
  const state = async () => world.controller.step({ kind: "facts", probe: world.probe() });
  t.match(await state(), { result: { service: { state: "unknown" } } });
  t.match(await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 3_000 }), { status: "done" });
  t.match(await state(), { result: { service: { state: "stopped" } } });
  await world.host.run(["systemctl", "stop", "slow.service"]);
  t.match(await state(), { result: { service: { state: "stopped" } } }, "nothing starts it any more");
});
