import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { packagedWorld } from "./packaged-world.js";

t.setTimeout(10 * 60_000);
const GROUP = "/sys/fs/cgroup/systemd/system.slice/svc.service/cgroup.procs";
/** A session's shell: another user's, and out of reach of the agent's own rights. */
const SHELL = `setpriv --reuid=nobody --regid=nogroup --clear-groups sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >${GROUP}`;

t.test(
  "what other users still run when a unit of KillMode=process stops is ended, too",
  { skip: whyNoHosts() ?? false },
  async (t) => {
    const world = await packagedWorld(t, { KillMode: "process" });
    const { host, controller } = world;
    const sleeping = () => host.run(["sh", "-c", "pgrep -c -u nobody sleep || true"]);
    const open = async () => {
      await host.run(["sh", "-c", SHELL]);
      t.equal(await sleeping(), "1\n");
    };
    const stop = () => controller.step({ kind: "stop", service: "svc", timeoutMs: 5_000 });
    await open();
    t.match(await controller.step(world.swapOp("5.0.0", "6.0.0", {})), { status: "done" });
    t.equal(await sleeping(), "0\n", "a swap");
    await open();
    t.match(await stop(), { status: "done", changed: true });
    t.equal(await sleeping(), "0\n", "a stop");
    t.match(await controller.step(world.startOp()), { status: "done" });
    await open();
    // As an agent's earlier life leaves it that is killed while systemd stops the unit.
    await host.run(["systemctl", "stop", "svc.service"]);
    t.equal(await sleeping(), "1\n", "systemd leaves it");
    t.match(await stop(), { status: "done", changed: false });
    t.equal(await sleeping(), "0\n", "a stop of what is stopped");
  },
);
