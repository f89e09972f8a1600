import { copyFile, mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { BACKEND, CONTROL, fleetYaml, installOf, type LabHost, type LabPolicy } from "./fleet.js";
import type { Ran, RunOptions } from "./host/command.js";
import type { Hosts } from "./host/hosts.js";
import type { Machine } from "./host/machine.js";
import { backendFor } from "./states.js";

const PORT = 7443;
const TOKEN_FILE = "/var/lib/belay/api-token";
const INSTALL_TIMEOUT_MS = 5 * 60_000;

/** Debian packages of one version. */
export interface Packages {
  readonly agent: string;
  readonly controller: string;
  /** The agent once more, as a release that running agents can be upgraded to. */
  readonly agentRelease: string;
}

/** Installs belayd from its package, tells it the fleet, opens its door for agents, and starts it. */
export async function installController(
  hosts: Hosts,
  fleet: readonly LabHost[],
  packages: Packages,
  policy: LabPolicy,
) {
  const control = hosts.machine(CONTROL);
  await installPackage(control, packages.controller);
  const tls = { listen: `0.0.0.0:${PORT}`, names: [control.address, CONTROL] };
  const agents = { pingEverySeconds: 2, factsEverySeconds: 5 };
  await control.writeFile("/etc/belay/belayd.yaml", stringify({ tls, agents }));
  await control.writeFile("/etc/belay/fleet.yaml", fleetYaml(fleet, policy));
  await control.shell("systemctl restart belayd || { journalctl -u belayd -n 20 --no-pager >&2; exit 1; }");
}

/** Installs an agent from its package and lets it join. Idempotent but for the token, of which there is a new one. */
export async function installAgent(hosts: Hosts, host: LabHost, packages: Packages): Promise<void> {
  const machine = hosts.machine(host.name);
  const control = hosts.machine(CONTROL);
  const token = await belay(control, ["agent", "token", "create", "--host", host.name]);
  await machine.writeFile("/etc/belay/token", token.stdout, 0o600);
  await installPackage(machine, packages.agent);
  await machine.writeFile("/etc/belay/agent.yaml", agentYaml(hosts, host));
  await machine.must(["systemctl", "restart", "belay-agent"]);
}

/** Runs the real command line on the control host. Throws on another exit code than 0 or `alsoFine`. */
export async function belay(
  control: Machine,
  args: readonly string[],
  options: RunOptions & { readonly alsoFine?: readonly number[] } = {},
): Promise<Ran> {
  const ran = await control.exec([...belayArgv(), ...args], options);
  if (ran.code === 0 || options.alsoFine?.includes(ran.code ?? -1)) return ran;
  throw new Error(`belay ${args.join(" ")} ended with ${ran.code}:\n${ran.stderr}${ran.stdout}`);
}

export function belayArgv(): string[] {
  return ["env", `BELAY_TOKEN_FILE=${TOKEN_FILE}`, "belay"];
}

/** Puts a file of this machine where a host sees it. */
export async function copyInto(machine: Machine, from: string, to: string): Promise<void> {
  const file = join(machine.root, to);
  await mkdir(join(file, ".."), { recursive: true });
  await copyFile(from, file);
}

async function installPackage(machine: Machine, file: string): Promise<void> {
  const there = `/root/${basename(file)}`;
  await copyInto(machine, file, there);
  await machine.must(["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confnew", "-i", there], {
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
}

function agentYaml(hosts: Hosts, host: LabHost): string {
  const backend = backendFor(host, hosts);
  const installs = host.layout === undefined ? ["/opt/belay"] : ["/opt/belay", installOf(host)];
  return stringify({
    controller: `https://${hosts.machine(CONTROL).address}:${PORT}`,
    host: host.name,
    tokenFile: "/etc/belay/token",
    services: { teleport: { manager: "systemd", unit: "teleport.service" } },
    directories: [...installs, "/var/lib/teleport", "/etc", "/usr/local/bin"],
    self: { manager: "systemd" },
    ...(backend === null ? {} : { backends: { [BACKEND]: backend } }),
    ...host.agent,
  });
}
