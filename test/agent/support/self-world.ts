import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AGENT_VERSION } from "@belay/agent";
import type { OpOf } from "@belay/shared";
import type { Test } from "tap";
import { type AgentBehaviour, layOutAgent } from "../../support/agents/build-agent.js";
import { unhooked } from "../../support/unhooked.js";
import { FakeController } from "./controller.js";

export const OLD = AGENT_VERSION;
export const NEW = "0.2.0";
export const NEWER = "0.3.0";

/** A host that has nothing but an agent, kept running by `belay-agent supervise`. */
export class SelfWorld {
  readonly dir = mkdtempSync(join(tmpdir(), "belay-self-"));
  readonly versionsDir = join(this.dir, "agent", "versions");
  readonly link = join(this.dir, "agent", "current");
  readonly configFile = join(this.dir, "agent.yaml");
  readonly stateDir = join(this.dir, "state");
  readonly controller: FakeController;
  readonly #supervisors: ChildProcess[] = [];

  private constructor(controller: FakeController) {
    this.controller = controller;
  }

  static async make(t: Test, versions: { old?: AgentBehaviour; new?: AgentBehaviour } = {}): Promise<SelfWorld> {
    const world = new SelfWorld(await FakeController.listen());
    t.teardown(() => world.#end());
    await world.layOut(OLD, versions.old);
    await world.layOut(NEW, versions.new);
    world.leadTo(OLD);
    mkdirSync(world.stateDir);
    writeFileSync(join(world.dir, "token"), "a-token-of-a-host\n", { mode: 0o600 });
    writeFileSync(world.configFile, world.config("process"));
    return world;
  }

  async layOut(version: string, behaviour?: AgentBehaviour): Promise<void> {
    await layOutAgent(join(this.versionsDir, version), version, behaviour);
    writeManifest(join(this.versionsDir, version), version);
  }

  /** As a package does it that is configured: from now on the link leads there, whatever goes on. */
  leadTo(version: string): void {
    const link = join(this.dir, "agent", ".current.new");
    symlinkSync(join("versions", version), link);
    renameSync(link, this.link);
  }

  config(manager: "process" | "none"): string {
    const self = manager === "none" ? "" : `self:\n  manager: process\n  program: ${this.link}/belay-agent\n`;
    return `controller: ${this.controller.url}
host: host-1
tokenFile: ${join(this.dir, "token")}
stateDir: ${this.stateDir}
directories: [${join(this.dir, "agent")}]
${self}`;
  }

  /** The supervisor is a program of its own that no upgrade replaces. */
  supervise(env: Record<string, string> = {}): ChildProcess {
    return this.#start([join(this.versionsDir, OLD, "belay-agent"), "supervise"], env);
  }

  /** An agent that nobody supervises. */
  alone(): ChildProcess {
    return this.#start([join(this.link, "belay-agent")]);
  }

  #start(argv: readonly string[], env: Record<string, string> = {}): ChildProcess {
    const quiet = process.env.AGENT_LOG === undefined ? "ignore" : "inherit";
    const child = spawn(...unhooked([...argv, "--config", this.configFile]), {
      stdio: ["ignore", "ignore", quiet],
      env: { ...process.env, ...env },
    });
    this.#supervisors.push(child);
    return child;
  }

  op(more: Partial<OpOf<"upgrade-agent">> = {}): OpOf<"upgrade-agent"> {
    return {
      kind: "upgrade-agent",
      versionsDir: this.versionsDir,
      link: this.link,
      from: OLD,
      to: NEW,
      sha256: null,
      settleMs: 500,
      returnMs: 10_000,
      ...more,
    };
  }

  /** Versions of the agents that have dialled, in their order, those of one version in a row as one. */
  dialled(): string[] {
    const versions = this.controller.all("hello").map(({ agentVersion }) => agentVersion);
    return versions.filter((version, index) => version !== versions[index - 1]);
  }

  /** What the link leads to. */
  installed(): string {
    return readlinkSync(this.link).split("/").at(-1) ?? "";
  }

  has(file: "pending" | "returning" | "returned"): boolean {
    return existsSync(join(this.stateDir, `upgrade-${file}.json`));
  }

  /** As the watcher does it whose time is over. */
  takeBack(): void {
    renameSync(join(this.stateDir, "upgrade-pending.json"), join(this.stateDir, "upgrade-returning.json"));
  }

  /** What is beside the folder of versions. */
  linksAndLeftovers(): string[] {
    const names = readdirSync(join(this.dir, "agent"));
    return names.filter((name) => name !== "versions" && name !== ".ballast").sort();
  }

  /** Kinds of records that the journal holds on the step, phases by their names. */
  records(): string[] {
    const lines = readFileSync(join(this.stateDir, "journal"), "utf8").trimEnd().split("\n");
    return lines.map((line) => /"phase":"([a-z-]+)"/.exec(line)?.[1] ?? /"kind":"([a-z-]+)"/.exec(line)?.[1] ?? "");
  }

  /** Kills every agent of this host, by the folder that its program was named by. */
  endAgents(): void {
    for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, "latin1");
        if (command.includes(this.link)) process.kill(Number(name), "SIGKILL");
      } catch {
        // It ended by itself between the look and the touch.
      }
    }
  }

  async #end(): Promise<void> {
    for (const child of this.#supervisors) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    this.endAgents();
    await this.controller.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** As it would have been fetched, so that a change in it is noticed. */
function writeManifest(dir: string, version: string): void {
  const manifest = { version, artifact: { sha256: "0".repeat(64), size: 1 }, files: [] };
  writeFileSync(join(dir, ".belay-manifest.json"), JSON.stringify(manifest));
}
