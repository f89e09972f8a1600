import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import {
  type ClusterOnDisk,
  hostOf,
  type Layout,
  layOutFleet,
  startServices,
  stopEverything,
} from "../fleet-on-disk/index.js";
import { PortClaim } from "../fleet-on-disk/ports.js";
import type { BuiltRelease } from "../standin/build-release.js";
import { Api } from "./api.js";
import { Program } from "./process.js";
import { until } from "./until.js";

export { Api } from "./api.js";
export * from "./lead.js";
export { Program } from "./process.js";
export { until } from "./until.js";

export interface RealFleetOptions {
  /** A new or empty folder; everything of this fleet lies below it. */
  readonly dir: string;
  readonly clusters: readonly ClusterOnDisk[];
  readonly version: string;
  readonly releases: readonly BuiltRelease[];
  /** Further sections of fleet.yaml: rollout, gates ... */
  readonly fleet?: Readonly<Record<string, unknown>>;
  /** Further fields of every agent.yaml. */
  readonly agent?: Readonly<Record<string, unknown>>;
  /** Agents join over TLS and are known by certificates, as on hosts of their own; else they show tokens in the clear. */
  readonly certificates?: boolean;
  /** Further fields of belayd.yaml. */
  readonly belayd?: Readonly<Record<string, unknown>>;
}

/**
 * A fleet on one machine for real: belayd and an agent a host as processes of their own, the stand-in as the service
 * they upgrade. What tests and the demo share.
 */
export class RealFleet {
  readonly dir: string;
  readonly layout: Layout;
  readonly belayd: Program;
  readonly agents: ReadonlyMap<string, Program>;
  readonly api: Api;
  readonly apiToken: string;
  /** Held while the fleet lives: a belayd or a service that is down for a moment must find its port again. */
  readonly #ports: readonly PortClaim[];

  private constructor(
    dir: string,
    layout: Layout,
    belayd: Program,
    agents: ReadonlyMap<string, Program>,
    api: Api,
    token: string,
    ports: readonly PortClaim[],
  ) {
    this.dir = dir;
    this.layout = layout;
    this.belayd = belayd;
    this.agents = agents;
    this.api = api;
    this.apiToken = token;
    this.#ports = ports;
  }

  /** Lays the fleet out, starts all of it, publishes the releases, and waits until every agent is present. */
  static async start(options: RealFleetOptions): Promise<RealFleet> {
    await mkdir(join(options.dir, "belayd"), { recursive: true });
    const ports = new PortClaim();
    const port = await ports.next();
    const address = `http://127.0.0.1:${port}`;
    const door = options.certificates ? `127.0.0.1:${await ports.next()}` : null;
    const layout = await layOutFleet({
      dir: options.dir,
      clusters: options.clusters,
      version: options.version,
      controllerUrl: door === null ? address : `https://${door}`,
      ...(options.fleet === undefined ? {} : { fleet: options.fleet }),
      ...(options.agent === undefined ? {} : { agent: options.agent }),
    });
    const config = join(options.dir, "belayd", "belayd.yaml");
    await writeFile(
      config,
      stringify({
        listen: `127.0.0.1:${port}`,
        dataDir: "data",
        fleet: layout.fleetFile,
        agents: { pingEverySeconds: 2, factsEverySeconds: 5, plaintextTokens: door === null },
        ...(door === null ? {} : { tls: { listen: door } }),
        ...options.belayd,
      }),
    );
    const belayd = new Program(
      "belayd",
      "packages/controller/bin/belayd.js",
      ["--config", config],
      join(options.dir, "belayd", "belayd.log"),
    );
    const agents = new Map(
      layout.hosts.map((host) => [
        host.name,
        new Program(
          `agent of ${host.name}`,
          "packages/agent/bin/belay-agent.js",
          ["--config", host.agent.config],
          join(host.dir, "var", "log", "belay-agent.log"),
        ),
      ]),
    );
    belayd.start();
    try {
      await untilUp(address, belayd);
      const token = (await readFile(join(options.dir, "belayd", "data", "api-token"), "utf8")).trim();
      const api = new Api(address, token);
      const fleet = new RealFleet(options.dir, layout, belayd, agents, api, token, [ports, layout.ports]);
      await fleet.#fill(options.releases, door === null);
      return fleet;
    } catch (error) {
      // Nobody gets hold of this fleet any more, and what it has started would run on and keep its test from ending.
      await stopPrograms(layout, belayd, agents);
      for (const claim of [ports, layout.ports]) claim.release();
      throw error;
    }
  }

  async #fill(releases: readonly BuiltRelease[], plaintext: boolean): Promise<void> {
    for (const release of releases) await this.publish(release);
    for (const host of this.layout.hosts) {
      const { token } = await (plaintext ? this.api.token(host.name) : this.api.joinToken(host.name));
      await writeFile(host.agent.tokenFile, `${token}\n`, { mode: 0o600 });
    }
    await startServices(this.layout);
    for (const agent of this.agents.values()) agent.start();
    await this.untilPresent();
  }

  async publish(release: BuiltRelease): Promise<void> {
    await this.api.addRelease(basename(release.file), release.sha256, await readFile(release.file));
  }

  agentOf(host: string): Program {
    hostOf(this.layout, host);
    const agent = this.agents.get(host);
    if (agent === undefined) throw new Error(`no agent for ${host}`);
    return agent;
  }

  /** Waits until belayd answers again, after it was killed and started. */
  async untilUp(): Promise<void> {
    await untilUp(this.api.address, this.belayd);
  }

  /** Waits until every agent is connected and has reported what runs. */
  async untilPresent(timeoutMs = 30_000): Promise<void> {
    const declared = new Set(this.layout.hosts.map((host) => host.name));
    await until(
      async () => {
        const hosts = (await this.api.hosts()).filter((host) => declared.has(host.host));
        const missing = hosts.filter((host) => !host.present || host.facts?.running == null);
        return missing.length === 0 ? true : missing.map((host) => host.host).join(", ");
      },
      "agents present",
      timeoutMs,
    );
  }

  /** Ends agents, belayd and services, in this order. Idempotent. */
  async stop(): Promise<void> {
    await stopPrograms(this.layout, this.belayd, this.agents);
    for (const claim of this.#ports) claim.release();
  }
}

async function stopPrograms(layout: Layout, belayd: Program, agents: RealFleet["agents"]): Promise<void> {
  await Promise.all([...agents.values()].map((agent) => agent.stop()));
  await belayd.stop();
  await stopEverything(layout);
}

async function untilUp(address: string, belayd: Program): Promise<void> {
  await until(
    async () => {
      if (!belayd.running) throw new Error(`belayd has ended:\n${await belayd.log()}`);
      try {
        // Without a token it answers 401: it is up.
        return (await fetch(`${address}/v1/status`)).status === 401 || "no 401";
      } catch (error) {
        return (error as Error).message;
      }
    },
    "belayd answers",
    20_000,
  );
}
