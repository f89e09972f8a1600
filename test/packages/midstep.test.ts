import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { packagedWorld } from "./packaged-world.js";

const NEWER = "0.2.0";
t.setTimeout(15 * 60_000);

t.test(
  "an upgrade of the agent's package in the middle of a swap loses nothing (I7, I14)",
  { skip: whyNoHosts() ?? false },
  async (t) => {
    const newer = await labPackages(NEWER);
    const world = await packagedWorld(t);
    const { host, controller } = world;
    await copyFile(newer.agent, join(host.dir, "root/root/new.deb"));
    // Unpacking takes a while and touches nothing that runs; what matters is what configuring does.
    await host.run(["dpkg", "--unpack", "/root/new.deb"]);

    const step = controller.id();
    controller.send(world.swapOp("5.0.0", "6.0.0", { settleMs: 30_000 }), { step, deadlineMs: 300_000 });
    while (world.startsOf("6.0.0") === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    await host.run(["dpkg", "--configure", "belay-agent"]);

    const { outcome } = await controller.outcome(step);
    t.match(outcome, { status: "done", result: { running: "6.0.0" } });
    const hellos = controller.all("hello");
    t.same(
      hellos.map((hello) => hello.agentVersion),
      ["0.1.0", NEWER],
    );
    t.same(hellos.at(-1)?.open, [step], "the new version found the step open");
    t.equal(world.startsOf("6.0.0"), 1, "and did not start the service again");
    t.equal(hellos[0]?.journal, hellos[1]?.journal);
  },
);
