import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Agent,
  type AgentOptions,
  byToken,
  openJournalDisk,
  parseConfig,
  silentLogger,
  startAgent,
  systemClock,
  systemExec,
  systemHttp,
  webSocketDial,
} from "@belay/agent";
import type { Check, FactProbe, OpOf, VersionProbe } from "@belay/shared";
import { create } from "tar";
import { PortClaim } from "../../support/fleet-on-disk/ports.js";
import { FakeController } from "./controller.js";

const SERVICE = fileURLToPath(new URL("./service.mjs", import.meta.url));
export const AGENT_BIN = fileURLToPath(new URL("../../../packages/agent/bin/belay-agent.js", import.meta.url));
const TOKEN = "a-token-of-a-host";

export type Mode = "ok" | "crash" | "ends" | "crash-after" | "never-ready" | "deaf" | "stubborn";
type Cleaner = { teardown: (work: () => Promise<void>) => void };

/** One host with a folder, a service, versions and a controller of its own; gone with its test. */
export class World {
  readonly dir: string;
  readonly versionsDir: string;
  readonly link: string;
  readonly home: string;
  readonly stateDir: string;
  readonly configFile: string;
  readonly controller: FakeController;
  readonly port: number;
  restartDelayMs = 150;
  commands = "{}";
  /** More lines of agent.yaml. */
  more = "";
  initially = "stopped";
  /** What the service is started by; its folder is where a version's program lies. */
  program: string;
  agent: Agent | null = null;
  protected readonly children: ChildProcess[] = [];

  protected constructor(controller: FakeController, port: number, below: string = tmpdir()) {
    this.controller = controller;
    this.port = port;
    this.dir = mkdtempSync(join(below, "belay-agent-"));
    this.versionsDir = join(this.dir, "versions");
    this.link = join(this.dir, "current");
    this.program = join(this.link, "svc");
    this.home = join(this.dir, "home");
    this.stateDir = join(this.dir, "state");
    this.configFile = join(this.dir, "agent.yaml");
    for (const dir of [this.versionsDir, this.home]) mkdirSync(dir, { recursive: true });
    writeFileSync(join(this.dir, "token"), `${TOKEN}\n`, { mode: 0o600 });
  }

  static async make(t: Cleaner): Promise<World> {
    const world = new World(await FakeController.listen(), await freePort());
    world.controller.probe = world.probe();
    t.teardown(() => world.end());
    return world;
  }

  /** Lays a version out as if it had been installed by hand. */
  install(version: string, mode: Mode = "ok", more: object = {}): void {
    layOut(join(this.versionsDir, version), version, mode, more);
  }

  linkTo(version: string): void {
    rmSync(this.link, { force: true });
    symlinkSync(join(this.versionsDir, version), this.link);
  }

  /** Packs a version as a tarball that the controller serves, and gives the op that fetches it. */
  async release(version: string, mode: Mode = "ok", more: object = {}): Promise<OpOf<"fetch">> {
    const folder = join(this.dir, "pack", version);
    layOut(join(folder, "svc"), version, mode, more);
    const file = join(this.dir, `${version}.tgz`);
    await create({ gzip: true, file, cwd: folder }, ["svc"]);
    return this.serveFile(version, readFileSync(file));
  }

  serveFile(version: string, bytes: Buffer): OpOf<"fetch"> {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const before = this.controller.serve;
    this.controller.serve = (request, response) => {
      if (request.url === `/v1/artifacts/${sha256}`) serveRange(bytes, request.headers.range, response);
      else before(request, response);
    };
    return {
      kind: "fetch",
      version,
      source: `/v1/artifacts/${sha256}`,
      sha256,
      size: bytes.length,
      versionsDir: this.versionsDir,
      strip: 1,
      maxUnpackedBytes: 10_000_000,
    };
  }

  config(): string {
    return `controller: ${this.controller.url}
host: host-1
tokenFile: ${join(this.dir, "token")}
stateDir: ${this.stateDir}
hooksDir: ${join(this.dir, "hooks.d")}
directories: [${this.dir}]
commands: ${this.commands}
${this.more}
services:
  svc:
    manager: process
    argv: [${this.program}]
    env: { HOME_DIR: ${this.home}, PORT: "${this.port}" }
    pidFile: ${this.home}/pid
    restartDelayMs: ${this.restartDelayMs}
    initially: ${this.initially}
`;
  }

  /** Starts an agent in this process, with the real world except what the test replaces. */
  async start(replace: Partial<AgentOptions> = {}): Promise<Agent> {
    const config = parseConfig(this.config(), this.configFile);
    this.agent = await startAgent({
      config,
      leave: () => {},
      controller: byToken(config.controller, TOKEN),
      clock: systemClock,
      random: () => 0.5,
      dial: webSocketDial(byToken(config.controller, TOKEN)),
      http: systemHttp,
      exec: systemExec,
      log: silentLogger,
      machine: { os: "linux", arch: "x64" },
      journalDisk: replace.journalDisk ?? (await openJournalDisk(join(this.stateDir, "journal"))),
      env: { PATH: process.env.PATH ?? "" },
      redial: { baseMs: 20, capMs: 100, stableMs: 1000, refusedMs: 500 },
      ...replace,
    });
    return this.agent;
  }

  async stop(): Promise<void> {
    await this.agent?.stop();
    this.agent = null;
  }

  /** Starts a real agent process. */
  spawn(argv: string[] = [AGENT_BIN], env: Record<string, string> = {}): ChildProcess {
    writeFileSync(this.configFile, this.config());
    // A test runner's NODE_OPTIONS would make a slow, instrumented agent of it.
    const child = spawn(
      "/usr/bin/env",
      ["-u", "NODE_OPTIONS", process.execPath, ...argv, "--config", this.configFile],
      {
        stdio: ["ignore", "ignore", process.env.AGENT_LOG === undefined ? "ignore" : "inherit"],
        env: { ...process.env, ...env },
      },
    );
    this.children.push(child);
    return child;
  }

  /** Every start of the service, as `version pid`. */
  starts(): string[] {
    const file = join(this.home, "starts");
    return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  }

  startsOf(version: string): number {
    return this.starts().filter((line) => line.startsWith(`${version} `)).length;
  }

  data(): string {
    return readFileSync(join(this.home, "data"), "utf8");
  }

  probe(): FactProbe {
    const { versionsDir, link } = this;
    return {
      service: "svc",
      versionsDir,
      link,
      version: this.versionProbes(),
      checks: this.checks(),
      disks: [versionsDir],
    };
  }

  versionProbes(): VersionProbe[] {
    return [{ kind: "metric-label", url: this.at("/metrics"), metric: "svc_build_info", label: "version" }];
  }

  checks(): Check[] {
    return [{ kind: "process" }, { kind: "http", url: this.at("/readyz"), status: 200, timeoutMs: 1000 }];
  }

  at(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  swapOp(from: string, to: string, more: Partial<OpOf<"swap">> = {}): OpOf<"swap"> {
    return {
      kind: "swap",
      service: "svc",
      versionsDir: this.versionsDir,
      link: this.link,
      from,
      to,
      sha256: null,
      how: "restart",
      version: this.versionProbes(),
      checks: this.checks(),
      settleMs: 300,
      startTimeoutMs: 10_000,
      stopTimeoutMs: 3_000,
      snapshot: null,
      revertTo: "running",
      ...more,
    };
  }

  startOp(): OpOf<"start"> {
    return { kind: "start", service: "svc", checks: this.checks(), settleMs: 100, timeoutMs: 10_000 };
  }

  /** Live processes of this world's service, by the mark that the agent gives them. */
  servicePids(): number[] {
    const mark = `\0BELAY_SERVICE=${join(this.stateDir, "svc")}\0`;
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}\0`.includes(mark);
        } catch {
          return false;
        }
      });
  }

  protected async end(): Promise<void> {
    await this.stop();
    for (const child of this.children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    for (let tries = 0; tries < 20 && this.servicePids().length > 0; tries += 1) {
      for (const pid of this.servicePids()) process.kill(pid, "SIGKILL");
      await systemClock.sleep(20);
    }
    await this.controller.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function layOut(dir: string, version: string, mode: Mode, more: object): void {
  mkdirSync(dir, { recursive: true });
  cpSync(SERVICE, join(dir, "svc"));
  chmodSync(join(dir, "svc"), 0o755);
  writeFileSync(join(dir, "package.json"), '{"type":"module"}');
  writeFileSync(join(dir, "VERSION"), JSON.stringify({ version, mode, ...more }));
}

function serveRange(bytes: Buffer, range: string | undefined, response: import("node:http").ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  if (from === 0) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
  else {
    const headers = {
      "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
      "content-length": bytes.length - from,
    };
    response.writeHead(206, headers).end(bytes.subarray(from));
  }
}

/** Nobody else's while this process lives: a service that is down for a moment must find its port again. */
const ports = new PortClaim();

export function freePort(): Promise<number> {
  return ports.next();
}
