import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { BootedHost } from "../../support/nspawn.js";
import { FakeController } from "./controller.js";
import { AGENT_BIN, freePort, type Mode, World } from "./world.js";

type Cleaner = { teardown: (work: () => Promise<void>) => void };

/** A world on a booted host: a real systemd keeps the service, and the built agent runs beside it. */
export class SystemdWorld extends World {
  readonly host: BootedHost;
  /** Folders beyond its own that the agent may touch. */
  directories: string[] = [];

  private constructor(controller: FakeController, port: number, host: BootedHost) {
    super(controller, port, host.shared);
    this.host = host;
  }

  /** `shared` holds the world's folder; a booted host has a /tmp of its own. */
  static async boot(t: Cleaner, shared: string, unit: Record<string, string> = {}): Promise<SystemdWorld> {
    const host = await BootedHost.boot(`bl-${process.pid}`, shared);
    const world = new SystemdWorld(await FakeController.listen(), await freePort(), host);
    t.teardown(() => world.end());
    world.controller.probe = world.probe();
    await world.unit(unit);
    return world;
  }

  /** One whose service runs 5.0.0, with 6.0.0 beside it. */
  static async running(
    t: Cleaner,
    modes: { old?: Mode; fresh?: Mode; more?: object; oldMore?: object; unit?: Record<string, string> } = {},
  ): Promise<SystemdWorld> {
    const shared = await mkdtemp("/var/tmp/belay-swap-");
    const world = await SystemdWorld.boot(t, shared, modes.unit);
    t.teardown(() => rm(shared, { recursive: true, force: true }));
    world.install("5.0.0", modes.old ?? "ok", modes.oldMore ?? {});
    world.install("6.0.0", modes.fresh ?? "ok", modes.more ?? {});
    world.linkTo("5.0.0");
    await world.up();
    return world;
  }

  /** Teleport's own unit, with the test's service. */
  async unit(more: Record<string, string> = {}): Promise<void> {
    const lines = {
      Type: "simple",
      Environment: `HOME_DIR=${this.home} PORT=${this.port}`,
      ExecStart: join(this.link, "svc"),
      ExecReload: "/bin/kill -HUP $MAINPID",
      PIDFile: join(this.home, "pid"),
      Restart: "always",
      RestartSec: "5",
      ...more,
    };
    const text = Object.entries(lines).map(([name, value]) => `${name}=${value}\n`);
    await this.host.unit("svc.service", `[Service]\n${text.join("")}`);
  }

  override config(): string {
    return `controller: ${this.controller.url}
host: host-1
tokenFile: ${join(this.dir, "token")}
stateDir: ${this.stateDir}
hooksDir: ${join(this.dir, "hooks.d")}
directories: ${JSON.stringify([this.dir, ...this.directories])}
commands: ${this.commands}
services:
  svc: { manager: systemd, unit: svc.service }
`;
  }

  override spawn(): ChildProcess {
    writeFileSync(this.configFile, this.config());
    const child = this.host.spawn([process.execPath, AGENT_BIN, "--config", this.configFile]);
    this.children.push(child);
    return child;
  }

  /** Starts agent and service. */
  async up(): Promise<void> {
    this.spawn();
    await this.controller.connected();
    const started = await this.controller.step(this.startOp());
    if (started.status !== "done") throw new Error(JSON.stringify(started));
  }

  async mainPid(): Promise<number> {
    return Number(await this.host.show("svc.service", "MainPID"));
  }

  protected override async end(): Promise<void> {
    await this.host.end();
    await super.end();
  }
}
