import { join } from "node:path";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";

t.setTimeout(300_000);
const skip = whyNoHosts() ?? false;
/** By what each hangs on the service. One more hangs on such a one, and one that somebody stopped on the service, too. */
const OTHERS: Record<string, string> = {
  "needs.service": "[Unit]\nRequires=svc.service\nAfter=svc.service\n[Service]\nExecStart=/bin/sleep 1000\n",
  "bound.service": "[Unit]\nBindsTo=svc.service\nAfter=svc.service\n[Service]\nExecStart=/bin/sleep 1000\n",
  "part.service": "[Unit]\nPartOf=svc.service\n[Service]\nExecStart=/bin/sleep 1000\n",
  "next.service": "[Unit]\nRequires=needs.service\nAfter=needs.service\n[Service]\nExecStart=/bin/sleep 1000\n",
  "ours.target": "[Unit]\nRequires=svc.service\nAfter=svc.service\nWants=down.service\n",
  "down.service": "[Unit]\nRequires=svc.service\nAfter=svc.service\n[Service]\nExecStart=/bin/sleep 1000\n",
};
const UP = Object.keys(OTHERS).filter((name) => name !== "down.service");

async function withOthers(t: Test, ...[modes]: [Parameters<typeof SystemdWorld.running>[1]?]): Promise<SystemdWorld> {
  const world = await SystemdWorld.running(t, modes);
  for (const [name, text] of Object.entries(OTHERS)) await world.host.unit(name, text);
  await world.host.run(["systemctl", "start", ...UP]);
  await world.host.run(["systemctl", "stop", "down.service"]);
  return world;
}

/** The other units that run. */
async function running(world: SystemdWorld): Promise<string[]> {
  const states = await Promise.all(Object.keys(OTHERS).map((name) => world.host.show(name, "ActiveState")));
  return Object.keys(OTHERS).filter((_, index) => states[index] === "active");
}

t.test("units that a swap's stop takes along are up again after it, and no other is", { skip }, async (t) => {
  const cases: [string, Parameters<typeof SystemdWorld.running>[1], object, string][] = [
    ["a restart", {}, {}, "done"],
    ["a reload that does not take", { unit: { ExecReload: "" } }, { how: "reload" }, "done"],
    ["a version that crashes", { fresh: "crash-after", more: { ms: 500 } }, { settleMs: 5_000 }, "reverted"],
  ];
  for (const [name, modes, op, status] of cases) {
    await t.test(name, async (t) => {
      const world = await withOthers(t, modes);
      t.same(await running(world), UP);
      t.match(await world.controller.step(world.swapOp("5.0.0", "6.0.0", op)), { status });
      t.same(await running(world), UP);
    });
  }
});

t.test(
  "between a stop and a start of their own the agent may end; what stays down keeps nobody",
  { skip },
  async (t) => {
    const world = await withOthers(t);
    const { controller, host } = world;
    t.match(await controller.step({ kind: "stop", service: "svc", timeoutMs: 5_000 }), { status: "done" });
    t.same(await running(world), []);
    await host.unit("part.service", "[Unit]\nPartOf=svc.service\n[Service]\nExecStart=/no/such/program\n");
    await host.run(["pkill", "-KILL", "-f", "belay-agent.js"]);
    controller.socket = null;
    world.spawn();
    await controller.connected();
    t.match(await controller.step(world.startOp()), { status: "done" });
    t.same(
      await running(world),
      UP.filter((name) => name !== "part.service"),
    );
    await host.run(["systemctl", "stop", "bound.service"]);
    t.match(await controller.step(world.swapOp("5.0.0", "6.0.0", {})), { status: "done" });
    t.notOk((await running(world)).includes("bound.service"), "stopped on purpose since");
    t.match(await host.run(["cat", join(world.stateDir, "services/svc.along.json")]), /"isBack":true/);
  },
);
