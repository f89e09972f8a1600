import { stringify } from "yaml";
import { releaseFiles } from "../../test/support/standin/build-release.js";
import { CONTROL, installOf, type LabHost, stateOf } from "./fleet.js";
import type { Hosts } from "./host/hosts.js";
import type { Machine } from "./host/machine.js";
import { PASS_FILE, passFileFor, storageFor } from "./states.js";

/** Where a host sees the Node and the drivers that the stand-in runs with. Belay itself brings its own. */
export const LAB_NODE = { node: "/opt/lab/node", modulesFrom: "/opt/lab", oneFile: true } as const;
const PROGRAMS: readonly string[] = ["teleport", "tctl", "tsh"];
const AUTH_PORT = 3025;
const WEB_PORT = 3080;
export const DIAG = "http://127.0.0.1:3000";

/** Teleport's own unit. `diag_addr` has no field in the stand-in's file, so it is an option here. */
export const UNIT = `[Unit]
Description=Teleport Service
After=network.target

[Service]
Type=simple
Restart=always
RestartSec=5
EnvironmentFile=-/etc/default/teleport
ExecStart=/usr/local/bin/teleport start --config /etc/teleport.yaml --pid-file=/run/teleport.pid --diag-addr 127.0.0.1:3000
ExecReload=/bin/sh -c "exec pkill -HUP -F /run/teleport.pid"
PIDFile=/run/teleport.pid
LimitNOFILE=524288

[Install]
WantedBy=multi-user.target
`;

/**
 * Installs a release as Teleport's own script does, plain files in /usr/local/bin, or, on a host with another layout, as its
 * own updater does; with its unit, and starts it.
 */
export async function installTeleport(host: LabHost, fleet: readonly LabHost[], hosts: Hosts, version: string) {
  const machine = hosts.machine(host.name);
  for (const { path, content, mode } of await releaseFiles({ version, ...LAB_NODE })) {
    if (!PROGRAMS.includes(path)) continue;
    const dir = host.layout === undefined ? "/usr/local/bin" : `${installOf(host)}/versions/${version}/bin`;
    await machine.writeFile(`${dir}/${path}`, content, mode);
    if (host.layout !== undefined) await machine.must(["ln", "-s", `${dir}/${path}`, `/usr/local/bin/${path}`]);
  }
  await machine.must(["mkdir", "-p", "-m", "700", "/var/lib/teleport"]);
  await machine.writeFile("/etc/teleport.yaml", teleportYaml(host, fleet, hosts), 0o600);
  await machine.writeFile("/etc/systemd/system/teleport.service", UNIT);
  const inPostgres = host.role === "auth" && stateOf(host) === "postgresql";
  if (inPostgres) await machine.writeFile(PASS_FILE, passFileFor(hosts.machine(CONTROL)), 0o600);
  const env = ["STANDIN_MIGRATION_MS=1000", ...(inPostgres ? [`PGPASSFILE=${PASS_FILE}`] : [])];
  await machine.writeFile("/etc/default/teleport", env.map((word) => `${word}\n`).join(""));
  await machine.must(["systemctl", "daemon-reload"]);
  await machine.must(["systemctl", "enable", "--quiet", "--now", "teleport"]);
}

function teleportYaml(host: LabHost, fleet: readonly LabHost[], hosts: Hosts): string {
  const authsOf = (cluster: string) =>
    fleet
      .filter((one) => one.cluster === cluster && one.role === "auth")
      .map(({ name }) => `${hosts.machine(name).address}:${AUTH_PORT}`);
  return stringify({
    teleport: {
      nodename: host.name,
      data_dir: "/var/lib/teleport",
      auth_servers: authsOf(host.cluster),
      ...(host.role === "auth" ? { storage: storageFor(host, hosts) } : {}),
    },
    auth_service:
      host.role === "auth"
        ? {
            enabled: true,
            cluster_name: host.cluster,
            listen_addr: `0.0.0.0:${AUTH_PORT}`,
            ...(host.cluster === "eu" ? { trusted_root: authsOf("main") } : {}),
          }
        : { enabled: false },
    proxy_service:
      host.role === "proxy" ? { enabled: true, web_listen_addr: `0.0.0.0:${WEB_PORT}` } : { enabled: false },
    ssh_service: { enabled: host.role === "node" },
  });
}

/** What a host itself says, over its own shell: the version that its running service reports, and whether it is ready. */
export async function askHost(machine: Machine): Promise<{ version: string | null; ready: boolean }> {
  const ask = (path: string) => machine.exec(["curl", "-s", "-m", "5", "-w", "\n%{http_code}", `${DIAG}${path}`]);
  const [metrics, readyz] = await Promise.all([ask("/metrics"), ask("/readyz")]);
  const version = /teleport_build_info\{[^}]*\bversion="([^"]+)"/.exec(metrics.stdout)?.[1] ?? null;
  return { version, ready: readyz.stdout.endsWith("\n200") };
}
