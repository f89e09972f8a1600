import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildRelease, type ReleaseOptions } from "../../test/support/standin/build-release.js";
import { belay, copyInto, installAgent, installController, type Packages } from "./belay.js";
import { CONTROL, type LabHost, type LabPolicy, labHosts, stateOf } from "./fleet.js";
import type { Ran } from "./host/command.js";
import { Hosts } from "./host/hosts.js";
import type { Machine, MachineOptions } from "./host/machine.js";
import { startEtcd, startPostgres } from "./states.js";
import { askHost, installTeleport, LAB_NODE } from "./teleport.js";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const PATIENCE_MS = 90_000;
const LOOK_AGAIN_MS = 200;

export interface LabOptions {
  /** Of everything that it makes on this machine. */
  readonly name: string;
  readonly hosts: number;
  readonly version: string;
  readonly releases: readonly ReleaseOptions[];
  readonly packages: Packages;
  readonly policy: LabPolicy;
  /** What is particular to single hosts, such as how they were installed. */
  readonly particulars?: Readonly<Record<string, Pick<LabHost, "state" | "layout" | "agent">>>;
  /** The same of the machines that they are, such as a small disk. */
  readonly machines?: Readonly<Record<string, Partial<MachineOptions>>>;
  /** Leaves the hosts up when they could not be brought up whole, for somebody to look why. */
  readonly keepBroken?: boolean;
  readonly say: (line: string) => void;
}

/** A whole fleet of booted hosts: Teleport's stand-in from its unit, agents and belayd from their packages. */
export class Lab {
  readonly hosts: Hosts;
  readonly fleet: readonly LabHost[];
  readonly control: Machine;

  private constructor(hosts: Hosts, fleet: readonly LabHost[]) {
    this.hosts = hosts;
    this.fleet = fleet;
    this.control = hosts.machine(CONTROL);
  }

  /** Boots and installs all of it, and waits until every agent says that its host is healthy. Clears up if it can't. */
  static async start(options: LabOptions): Promise<Lab> {
    const hosts = await Hosts.open(options.name, options.say);
    try {
      return await bringUp(hosts, options);
    } catch (error) {
      if (!options.keepBroken) await hosts.close();
      throw error;
    }
  }

  static make(hosts: Hosts, fleet: readonly LabHost[]): Lab {
    return new Lab(hosts, fleet);
  }

  machine(name: string): Machine {
    return this.hosts.machine(name);
  }

  belay(args: readonly string[], alsoFine: readonly number[] = []): Promise<Ran> {
    return belay(this.control, args, { alsoFine });
  }

  /** What a command answers as JSON. */
  async ask<T>(args: readonly string[], alsoFine: readonly number[] = []): Promise<T> {
    return JSON.parse((await this.belay([...args, "--json"], alsoFine)).stdout) as T;
  }

  /** Publishes a release on belayd, from a file on its host. */
  async addRelease(release: ReleaseOptions): Promise<void> {
    const built = await buildRelease({ ...LAB_NODE, ...release, out: join(this.hosts.dir, "releases") });
    const there = `/root/${built.file.split("/").at(-1)}`;
    await copyInto(this.control, built.file, there);
    await copyInto(this.control, `${built.file}.sha256`, `${there}.sha256`);
    await this.belay(["release", "add", there]);
  }

  /** What every host of the fleet itself says, over its own shell. */
  whatRuns(): Promise<{ host: string; version: string | null; ready: boolean }[]> {
    return Promise.all(this.fleet.map(async ({ name }) => ({ host: name, ...(await askHost(this.machine(name))) })));
  }

  /** Looks until what is looked for is there. Throws, with what `look` last said, after a long while. */
  async until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await look();
      if (found !== null) return found;
      if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
      await sleep(LOOK_AGAIN_MS);
    }
  }

  close(): Promise<void> {
    return this.hosts.close();
  }
}

/** What every host sees of this machine: the Node and the drivers that the stand-in runs with. */
export async function hostBinds(): Promise<Record<string, string>> {
  return {
    [await realpath(process.execPath)]: LAB_NODE.node,
    [join(REPOSITORY, "node_modules")]: `${LAB_NODE.modulesFrom}/node_modules`,
  };
}

async function bringUp(hosts: Hosts, options: LabOptions): Promise<Lab> {
  const { say, packages, policy, version, machines = {}, particulars = {} } = options;
  const fleet = labHosts(options.hosts).map((host): LabHost => ({ ...host, ...particulars[host.name] }));
  const started = Date.now();
  const binds = await hostBinds();
  const names = [CONTROL, ...fleet.map(({ name }) => name)];
  await hosts.boot(names.map((name) => ({ name, binds, ...machines[name] })));
  say(`${names.length} hosts booted after ${((Date.now() - started) / 1000).toFixed(1)} s`);

  const control = hosts.machine(CONTROL);
  await startEtcd(control);
  if (fleet.some((host) => stateOf(host) === "postgresql")) await startPostgres(control);
  // In the order of their trust: a leaf that starts before its root would wait for it.
  for (const role of ["auth", "proxy", "node"]) {
    const some = fleet.filter((host) => host.role === role);
    await Promise.all(some.map((host) => installTeleport(host, fleet, hosts, version)));
  }
  say(`Teleport ${version} installed and started`);
  await installController(hosts, fleet, packages, policy);
  const lab = Lab.make(hosts, fleet);
  await lab.until("belayd to answer", async () => ((await lab.belay(["status"], [1])).code === 0 ? true : null));
  await Promise.all(fleet.map((host) => installAgent(hosts, host, packages)));
  await allHealthy(lab, version);
  say(
    `belayd and ${fleet.length} agents installed and connected after ${((Date.now() - started) / 1000).toFixed(1)} s`,
  );
  for (const release of options.releases) await lab.addRelease(release);
  return lab;
}

interface Seen {
  readonly host: string;
  readonly present: boolean;
  readonly facts: { readonly running: string | null; readonly healthy: boolean; readonly ailments: string[] } | null;
}

async function allHealthy(lab: Lab, version: string): Promise<void> {
  let last: Seen[] = [];
  try {
    await lab.until("every agent to find its host healthy", async () => {
      last = await lab.ask<Seen[]>(["host", "list"]);
      return last.every(({ present, facts }) => present && facts?.healthy && facts.running === version) ? true : null;
    });
  } catch (error) {
    const ill = last.filter(({ present, facts }) => !present || !facts?.healthy);
    throw new Error(`${(error as Error).message}: ${JSON.stringify(ill.slice(0, 3))}`);
  }
}
