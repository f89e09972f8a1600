import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import { releaseFiles } from "../standin/build-release.js";
import { agentYaml, fleetYaml, type Surroundings, teleportYaml, unitFile } from "./files.js";
import { type Addresses, describeHost } from "./host.js";
import { installRelease, writeFiles } from "./install.js";
import type { ClusterOnDisk, HostOnDisk, Layout } from "./layout.js";
import { PortClaim } from "./ports.js";

export interface LayOutOptions {
  readonly dir: string;
  readonly clusters: readonly ClusterOnDisk[];
  /** Installed on every host at first, and good. */
  readonly version: string;
  /** Where agents dial: `http://127.0.0.1:PORT`. */
  readonly controllerUrl: string;
  /** Join tokens by host; a host without one gets a random one. */
  readonly tokens?: Readonly<Record<string, string>>;
  /** Further sections of fleet.yaml: `gates`, `rollout`, `environment` ... */
  readonly fleet?: Readonly<Record<string, unknown>>;
  /** Further fields of every agent.yaml. */
  readonly agent?: Readonly<Record<string, unknown>>;
}

const FLEET = { fleet: "acme", product: "teleport" };

/**
 * Lays out a fleet below `dir`: a folder per host with Teleport installed and configured and an agent ready to start,
 * one backend folder per cluster, and fleet.yaml. Starts nothing. Not idempotent: `dir` must be new or empty.
 * `ports` keeps the chosen ports from being chosen by others until it is released.
 */
export async function layOutFleet(options: LayOutOptions): Promise<Layout & { readonly ports: PortClaim }> {
  const dir = resolve(options.dir);
  const ports = new PortClaim();
  const addresses = await chooseAddresses(options.clusters, ports);
  const release = await releaseFiles({ version: options.version });
  const hosts: HostOnDisk[] = [];
  for (const cluster of options.clusters) {
    const surroundings: Surroundings = {
      auths: authAddresses(options.clusters, cluster.name, addresses),
      roots: cluster.trusts === undefined ? [] : authAddresses(options.clusters, cluster.trusts, addresses),
      backendDir: join(dir, "backends", cluster.name),
      state: cluster.state ?? null,
    };
    await mkdir(surroundings.backendDir, { recursive: true });
    for (const { name, roles } of cluster.hosts) {
      const token = options.tokens?.[name] ?? randomBytes(24).toString("base64url");
      const { backendDir, state } = surroundings;
      const place = { fleetDir: dir, cluster: cluster.name, backendDir, state };
      const host = describeHost(place, { name, roles, token }, addressOf(addresses, name));
      await installRelease(host.install, options.version, release);
      await writeConfigs(host, addressOf(addresses, name), surroundings, options);
      hosts.push(host);
    }
  }
  const { version, clusters } = options;
  const layout: Layout = { dir, version, fleetFile: join(dir, "fleet.yaml"), clusters, hosts };
  await writeFiles([
    [
      layout.fleetFile,
      stringify(fleetYaml({ ...FLEET, ...options.fleet }, clusters, hosts), { aliasDuplicateObjects: false }),
      0o644,
    ],
    [join(dir, "layout.json"), `${JSON.stringify(layout, null, 2)}\n`, 0o600],
  ]);
  return { ...layout, ports };
}

async function writeConfigs(
  host: HostOnDisk,
  addresses: Addresses,
  surroundings: Surroundings,
  { controllerUrl, agent = {} }: LayOutOptions,
): Promise<void> {
  await writeFiles([
    [host.config, teleportYaml(host, addresses, surroundings), 0o600],
    [host.unit, unitFile(host), 0o644],
    [host.environment, "# Environment of the teleport service.\n", 0o644],
    [host.agent.config, agentYaml(host, controllerUrl, surroundings, agent), 0o600],
    [host.agent.tokenFile, `${host.agent.token}\n`, 0o600],
  ]);
  const folders = [host.data, host.agent.stateDir, dirname(host.service.pidFile), dirname(host.service.logFile)];
  for (const folder of folders) await mkdir(folder, { recursive: true });
}

/** A fleet that an earlier process laid out in `dir`. */
export async function readLayout(dir: string): Promise<Layout> {
  return JSON.parse(await readFile(join(dir, "layout.json"), "utf8")) as Layout;
}

async function chooseAddresses(clusters: readonly ClusterOnDisk[], ports: PortClaim): Promise<Map<string, Addresses>> {
  const addresses = new Map<string, Addresses>();
  for (const { name, roles } of clusters.flatMap((cluster) => cluster.hosts)) {
    addresses.set(name, {
      diag: await ports.next(),
      auth: roles.includes("auth") ? await ports.next() : null,
      proxy: roles.includes("proxy") ? await ports.next() : null,
    });
  }
  return addresses;
}

function addressOf(addresses: ReadonlyMap<string, Addresses>, host: string): Addresses {
  const found = addresses.get(host);
  if (found === undefined) throw new Error(`no addresses were chosen for ${host}`);
  return found;
}

function authAddresses(
  clusters: readonly ClusterOnDisk[],
  name: string,
  addresses: ReadonlyMap<string, Addresses>,
): string[] {
  const cluster = clusters.find((one) => one.name === name);
  if (cluster === undefined) throw new Error(`no cluster ${name} in this layout`);
  return cluster.hosts.flatMap((host) => {
    const { auth } = addressOf(addresses, host.name);
    return auth === null ? [] : [`127.0.0.1:${auth}`];
  });
}
