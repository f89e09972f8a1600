import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { SystemdWorld } from "../agent/support/systemd-world.js";
import { packages } from "./built.js";

/** A booted host whose service runs 5.0.0, with 6.0.0 beside it, kept by an agent under the unit that its package brings. */
export async function packagedWorld(
  t: { teardown: (work: () => Promise<void> | void) => void },
  unit: Record<string, string> = {},
): Promise<SystemdWorld> {
  // Where the unit's sandbox lets the agent write.
  const shared = mkdtempSync("/var/lib/belay-packaged-");
  const world = await SystemdWorld.boot(t, shared, unit);
  t.teardown(() => rmSync(shared, { recursive: true, force: true }));
  const { host, controller } = world;
  controller.patienceMs = 180_000;
  world.install("5.0.0");
  world.install("6.0.0");
  world.linkTo("5.0.0");
  const at = (path: string) => join(host.dir, "root", path);
  await copyFile(packages.agent, at("root/belay-agent.deb"));
  await host.run(["dpkg", "--install", "/root/belay-agent.deb"]);
  writeFileSync(at("etc/belay/agent.yaml"), world.config());
  writeFileSync(at("etc/belay/token"), "a-token-of-a-host\n", { mode: 0o600 });
  await host.run(["systemctl", "start", "belay-agent"]);
  await controller.connected();
  const started = await controller.step(world.startOp());
  if (started.status !== "done") throw new Error(JSON.stringify(started));
  return world;
}
