import diagnostics from "node:diagnostics_channel";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { Socket as NetSocket } from "node:net";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import {
  type Agent,
  type AgentOptions,
  byToken,
  type Exec,
  type Http,
  parseConfig,
  type Service,
  silentLogger,
  startAgent,
  systemClock,
} from "@belay/agent";
import { BelayError } from "@belay/shared";
import { MemoryDisk } from "../../agent/support/memory-disk.js";
import { lookAtTree, type Sight } from "../support/tree.js";
import { RedLine } from "./line.js";

/** It dials forty thousand times: without a timer's least wait that is a minute less. */
const soon = () => new Promise<void>((resolve) => setImmediate(resolve));
const WITNESSED = /^state\/witness(\/|$)/;
const CONTROLLER = "https://belay.internal:7443";

/**
 * A whole agent whose owner believes two approvers, on real files. Whatever it would do beyond them (start a program, ask a
 * server, touch the service) is not done, but written down as an effect.
 */
export class RedHost {
  readonly dir: string;
  /** Folders of the host in which Belay may write. */
  readonly allowed: string;
  readonly line = new RedLine();
  /** All that it did, or would have done, beyond looking at its own files and its own service's port. */
  readonly effects: string[] = [];
  #agent: Agent | null = null;
  #before: Record<string, Sight> = {};
  readonly #connecting = (message: unknown) => {
    const { socket } = message as { socket: NetSocket };
    socket.once("connectionAttempt", (ip: string, port: number) => {
      if (ip !== "127.0.0.1" && ip !== "::1") this.#did(`connects to ${ip}:${port}`);
    });
  };

  private constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "belay-redteam-"));
    this.allowed = join(this.dir, "srv");
  }

  static async open(signers: readonly string[], replace: Partial<AgentOptions> = {}): Promise<RedHost> {
    const host = new RedHost();
    host.#layOut(signers);
    diagnostics.subscribe("net.client.socket", host.#connecting);
    host.#agent = await startAgent({
      config: parseConfig(host.#config(), join(host.dir, "agent.yaml")),
      leave: () => host.#did("ends itself"),
      controller: byToken(CONTROLLER, "a-token-of-a-host"),
      clock: { ...systemClock, sleep: async (ms, signal) => (ms === 0 ? soon() : systemClock.sleep(ms, signal)) },
      random: () => 0,
      dial: host.line.dial,
      http: host.#http(),
      exec: host.#exec(),
      log: {
        ...silentLogger,
        warn: (fields) => host.#refused(fields),
        error: (fields) => host.#failed(fields),
      },
      machine: { os: "linux", arch: "x64" },
      journalDisk: new MemoryDisk(),
      env: {},
      redial: { baseMs: 0, capMs: 0, stableMs: 1000, refusedMs: 0 },
      openServices: async () => new Map([["svc", host.#service()]]),
      ...replace,
    });
    host.#before = host.look();
    return host;
  }

  /** What is different on the disk from the beginning, and what else it did. */
  harm(): string[] {
    const now = this.look();
    const names = new Set([...Object.keys(this.#before), ...Object.keys(now)]);
    const changed = [...names].filter((name) => now[name] !== this.#before[name]).sort();
    return [...changed.map((name) => `${name} is not as it was`), ...this.effects];
  }

  look(): Record<string, Sight> {
    // What it was shown of belayd's audit log is its own memory, with a limit.
    return lookAtTree(this.dir, [WITNESSED]);
  }

  /** What it remembers of audit logs: names of files, without their folder. */
  witnessed(): string[] {
    const dir = join(this.dir, "state", "witness");
    return existsSync(dir) ? readdirSync(dir, { recursive: true, encoding: "utf8" }) : [];
  }

  async close(): Promise<void> {
    await this.#agent?.stop();
    diagnostics.unsubscribe("net.client.socket", this.#connecting);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** What it ran into and hadn't been made for. */
  readonly defects: string[] = [];

  #failed(fields: object): void {
    if ("stack" in fields && this.defects.length < 20) this.defects.push(String(fields.stack));
  }

  /** Steps that it refused, by why. */
  readonly refusals = new Map<string, number>();

  #refused(fields: object): void {
    const { step, error } = fields as { step?: string; error?: { code: string } };
    if (step === undefined || error === undefined) return;
    this.refusals.set(error.code, (this.refusals.get(error.code) ?? 0) + 1);
  }

  #did(what: string): void {
    // The first ones say it; a million of them would fill the memory.
    if (this.effects.length < 100) this.effects.push(what);
  }

  #layOut(signers: readonly string[]): void {
    const file = (path: string, content: string, mode = 0o644) => {
      mkdirSync(join(this.dir, path, ".."), { recursive: true });
      writeFileSync(join(this.dir, path), content, { mode });
    };
    file("etc/approvers", `${signers.join("\n")}\n`);
    file("etc/shadow", "root:secret", 0o600);
    file("etc/hooks.d/drain", "#!/bin/sh\n", 0o755);
    for (const version of ["5.0.0", "6.0.0"]) file(`srv/versions/${version}/svc`, `#!/bin/sh\n${version}\n`, 0o755);
    symlinkSync(join(this.allowed, "versions", "5.0.0"), join(this.allowed, "current"));
    symlinkSync(join(this.dir, "etc"), join(this.allowed, "way-out"));
    file("srv/bin/tool", "#!/bin/sh\n", 0o755);
    file("srv/data/state", "precious");
    file("srv/backups/kept/manifest.json", JSON.stringify({ id: "kept", takenAt: 1, version: null, items: [] }));
    file("srv/versions/.belay-6.0.1.unpacking/left", "left over");
    mkdirSync(join(this.dir, "state"));
  }

  #config(): string {
    return `controller: ${CONTROLLER}
host: host-1
tokenFile: ${join(this.dir, "etc", "token")}
stateDir: ${join(this.dir, "state")}
hooksDir: ${join(this.dir, "etc", "hooks.d")}
directories: [${this.allowed}]
commands: { tidy: [/bin/tidy] }
backends: { own: { kind: command, backup: [/bin/save], restore: [/bin/load] } }
approve: { by: approvers, fleet: acme, signers: ${join(this.dir, "etc", "approvers")}, threshold: 2 }
self: { manager: process, program: ${join(this.allowed, "agent", "current", "belay-agent")} }
services:
  svc: { manager: process, argv: [${join(this.allowed, "current", "svc")}] }
`;
  }

  /** Starts nothing. To ask an installed version's own program which it is, is looking. */
  #exec(): Exec {
    const versions = ["versions/5.0.0", "versions/6.0.0", "current"].map((name) => `${join(this.allowed, name)}/`);
    const isAsking = ([program = "", ...words]: readonly string[]) =>
      words.join(" ") === "version" && versions.some((dir) => normalize(program).startsWith(dir));
    return {
      run: async (argv) => {
        if (!isAsking(argv)) this.#did(`runs ${argv.join(" ")}`);
        return { code: 0, signal: null, stdout: "Svc v5.0.0", stderr: "" };
      },
      filter: (argv) => {
        this.#did(`runs ${argv.join(" ")}`);
        throw new BelayError("command-not-started", "nothing is started here");
      },
      launch: async (argv) => {
        this.#did(`launches ${argv.join(" ")}`);
        throw new BelayError("command-not-started", "nothing is started here");
      },
    };
  }

  /** Asks nobody. To ask this very host's own ports is looking. */
  #http(): Http {
    const asked = (url: string, method = "GET") => {
      const { hostname } = new URL(url);
      if (hostname !== "127.0.0.1" || method !== "GET") this.#did(`${method}s ${url}`);
      return new BelayError("http-unreachable", `${url}: nobody is there`);
    };
    return {
      open: async (url, { method }) => {
        throw asked(url, method);
      },
      text: async (url, { method }) => {
        throw asked(url, method);
      },
    };
  }

  /** It runs, and goes on running. */
  #service(): Service {
    const touched = (what: string) => async () => this.#did(`${what}s the service`);
    const status = async () => ({ state: "running" as const, pid: process.pid, restarts: 0, ailments: [] });
    return {
      name: "svc",
      status,
      glimpse: async () => process.pid,
      beforeReload: status,
      needDefinition: status,
      definition: async () => null,
      start: touched("start"),
      stop: touched("stop"),
      reload: touched("reload"),
      close: async () => {},
    };
  }
}
