import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { RunView } from "@belay/controller/api/contract";
import type { Test } from "tap";
import { stringify } from "yaml";
import { type AgentBehaviour, buildAgent, layOutAgent } from "../support/agents/build-agent.js";
import { PortClaim } from "../support/fleet-on-disk/ports.js";
import { Api, Program, until } from "../support/real-fleet/index.js";

const PATIENCE_MS = 120_000;

/** A fleet that is nothing but belayd and agents, each kept running by a supervisor of its own. */
export class AgentFleet {
  readonly dir: string;
  readonly api: Api;
  readonly #hosts: readonly string[];

  private constructor(dir: string, api: Api, hosts: readonly string[]) {
    this.dir = dir;
    this.api = api;
    this.#hosts = hosts;
  }

  /** `name: roles`, all in one cluster. */
  static async open(t: Test, version: string, hosts: Readonly<Record<string, readonly string[]>>): Promise<AgentFleet> {
    const dir = await mkdtemp(join(tmpdir(), "belay-agents-"));
    t.teardown(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
    const port = await new PortClaim().next();
    const address = `http://127.0.0.1:${port}`;
    const names = Object.keys(hosts);
    const declared = names.map((name) => ({
      name,
      roles: hosts[name],
      vars: { agentInstall: join(dir, name, "agent"), agentSettle: "1s", agentReturn: "10s" },
    }));
    await writeFile(
      join(dir, "fleet.yaml"),
      stringify({
        fleet: "agents",
        clusters: [{ name: "main", hosts: declared }],
        rollout: { node: { canary: 1, batch: [2] } },
      }),
    );
    const config = join(dir, "belayd.yaml");
    const agents = { pingEverySeconds: 2, factsEverySeconds: 5, plaintextTokens: true };
    await writeFile(config, stringify({ listen: `127.0.0.1:${port}`, dataDir: "data", fleet: "fleet.yaml", agents }));
    const belayd = new Program(
      "belayd",
      "packages/controller/bin/belayd.js",
      ["--config", config],
      join(dir, "belayd.log"),
    );
    belayd.start();
    t.teardown(async () => void (await belayd.stop()));
    await until(
      async () => (await fetch(`${address}/v1/status`).catch(() => null))?.status === 401,
      "belayd up",
      30_000,
    );
    const api = new Api(address, (await readFile(join(dir, "data", "api-token"), "utf8")).trim());
    const fleet = new AgentFleet(dir, api, names);
    for (const name of names) await fleet.#join(t, name, version, address);
    await fleet.untilPresent();
    return fleet;
  }

  async publish(version: string, behaviour: AgentBehaviour = "good"): Promise<void> {
    const { file, sha256 } = await buildAgent(join(this.dir, "releases"), version, behaviour);
    await this.api.addRelease(basename(file), sha256, await readFile(file));
  }

  /** What the link of each host leads to. */
  async installed(): Promise<Record<string, string>> {
    const entries = this.#hosts.map(
      async (name) => [name, basename(await readlink(join(this.dir, name, "agent", "current")))] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }

  /** Puts one more version beside those that a host has. */
  async layOut(name: string, version: string): Promise<void> {
    await layOutAgent(join(this.dir, name, "agent", "versions", version), version);
  }

  /** The versions that lie on a host. */
  async kept(name: string): Promise<string[]> {
    return (await readdir(join(this.dir, name, "agent", "versions"))).sort();
  }

  async untilPresent(): Promise<void> {
    const missing = async () => {
      const present = (await this.api.hosts()).filter((host) => host.present).map(({ host }) => host);
      return this.#hosts.every((name) => present.includes(name)) || present.join();
    };
    await until(missing, "agents present", PATIENCE_MS);
  }

  /** Approves every gate that opens until the run looks as asked for; a failure gate is nobody's to approve. */
  async lead(run: string, what: string, found: (view: RunView) => boolean): Promise<RunView> {
    let last: RunView | null = null;
    const look = async () => {
      last = await this.api.run(run);
      if (found(last)) return true;
      if (last.status === "waiting" && last.gate?.status === "open" && last.gate.kind !== "failure") {
        await this.api.approve(run, last.gate.gate);
      }
      return JSON.stringify({ status: last.status, waits: last.waits, failures: last.failures });
    };
    await until(look, `${run}: ${what}`, PATIENCE_MS);
    if (last === null) throw new TypeError("looked at least once");
    return last;
  }

  async #join(t: Test, name: string, version: string, controller: string): Promise<void> {
    const home = join(this.dir, name);
    const agent = join(home, "agent");
    await this.layOut(name, version);
    await mkdir(join(home, "state"));
    await symlink(join("versions", version), join(agent, "current"));
    await writeFile(join(home, "token"), (await this.api.token(name)).token, { mode: 0o600 });
    const config = join(home, "agent.yaml");
    await writeFile(
      config,
      stringify({
        controller,
        host: name,
        tokenFile: join(home, "token"),
        stateDir: join(home, "state"),
        directories: [agent],
        self: { manager: "process", program: join(agent, "current", "belay-agent") },
      }),
    );
    const args = ["supervise", "--config", config];
    const supervisor = new Program(`agent of ${name}`, "packages/agent/bin/belay-agent.js", args, join(home, "log"));
    supervisor.start();
    t.teardown(async () => void (await supervisor.stop()));
  }
}
