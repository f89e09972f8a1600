import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { SystemdWorld } from "./support/systemd-world.js";

t.setTimeout(300_000);
const skip = whyNoHosts() ?? false;

t.test("no reload reaches for a process that drains since the last one", { skip }, async (t) => {
  for (const word of ["MAINPID", "{MAINPID}"]) {
    const ExecReload = `/bin/kill -HUP $${word}`;
    await t.test(ExecReload, async (t) => {
      // systemd may miss that the last of two processes ended at once, where control groups of the first version are a container's.
      const unit = { ExecReload, TimeoutStopSec: "1" };
      const world = await SystemdWorld.running(t, { oldMore: { drainMs: 60_000 }, unit });
      world.install("7.0.0");
      const swap = (from: string, to: string) =>
        world.controller.step(world.swapOp(from, to, { how: "reload", startTimeoutMs: 20_000 }));
      t.match(await swap("5.0.0", "6.0.0"), { status: "done", result: { running: "6.0.0" } });
      const outcome = await swap("6.0.0", "7.0.0");
      t.match(outcome, { status: "done", result: { running: "7.0.0" } });
      const { downMs } = (outcome as { result: { downMs: number } }).result;
      t.ok(downMs < 8_000, `restarted at once, not after a signal that nobody hears: ${downMs} ms`);
      t.equal((await world.host.run(["pgrep", "-fc", `${world.link}/svc`])).trim(), "1");
      t.equal(world.startsOf("7.0.0"), 1);
    });
  }
});

t.test("a reload that goes by the PID file works while the last one's process drains", { skip }, async (t) => {
  const world = await SystemdWorld.running(t, { oldMore: { drainMs: 60_000 } });
  await world.unit({ ExecReload: `/bin/sh -c "exec pkill -HUP -F ${world.home}/pid"` });
  world.install("7.0.0");
  const swap = (from: string, to: string) => world.controller.step(world.swapOp(from, to, { how: "reload" }));
  t.match(await swap("5.0.0", "6.0.0"), { status: "done" });
  t.match(await swap("6.0.0", "7.0.0"), { status: "done", result: { running: "7.0.0" } });
  t.equal(Number(await world.host.run(["pgrep", "-fc", `${world.link}/svc`])), 2, "the first drains still");
});
