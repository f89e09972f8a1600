import { stringify } from "yaml";
import type { Addresses } from "./host.js";
import type { ClusterOnDisk, HostOnDisk } from "./layout.js";

/** What a host must know of others: auths of its own cluster and of the root it trusts, and where state is kept. */
export interface Surroundings {
  readonly auths: readonly string[];
  readonly roots: readonly string[];
  readonly backendDir: string;
}

/** etc/teleport.yaml, in Teleport's own shape. */
export function teleportYaml(host: HostOnDisk, ports: Addresses, { auths, roots, backendDir }: Surroundings): string {
  return stringify({
    teleport: {
      nodename: host.name,
      data_dir: host.data,
      auth_servers: auths,
      ...(ports.auth === null ? {} : { storage: { type: "sqlite", path: backendDir } }),
    },
    auth_service:
      ports.auth === null
        ? { enabled: false }
        : {
            enabled: true,
            cluster_name: host.cluster,
            listen_addr: `127.0.0.1:${ports.auth}`,
            ...(roots.length === 0 ? {} : { trusted_root: roots }),
          },
    proxy_service:
      ports.proxy === null ? { enabled: false } : { enabled: true, web_listen_addr: `127.0.0.1:${ports.proxy}` },
    ssh_service: { enabled: host.roles.includes("node") },
  });
}

/** etc/systemd/system/teleport.service, as it would be if this host had a systemd. */
export function unitFile({ service, environment }: HostOnDisk): string {
  return `[Unit]
Description=Teleport Service

[Service]
Type=simple
Restart=always
RestartSec=5
EnvironmentFile=-${environment}
ExecStart=${service.argv.join(" ")}
ExecReload=/bin/kill -HUP $MAINPID
PIDFile=${service.pidFile}
LimitNOFILE=524288

[Install]
WantedBy=multi-user.target
`;
}

/** etc/belay/agent.yaml: what the agent on this host may touch, and nothing beyond. */
export function agentYaml(host: HostOnDisk, controllerUrl: string, backendDir: string): string {
  const { argv, pidFile, logFile } = host.service;
  return stringify({
    controller: controllerUrl,
    host: host.name,
    tokenFile: host.agent.tokenFile,
    stateDir: host.agent.stateDir,
    services: {
      teleport: { manager: "process", argv, pidFile, logFile, reloadSignal: "SIGHUP", restartDelayMs: 1000, env: {} },
    },
    directories: host.backend === null ? [host.dir] : [host.dir, backendDir],
    commands: {},
  });
}

/** fleet.yaml as an object: the caller's sections, and every host with its own `vars`. */
export function fleetYaml(
  sections: Readonly<Record<string, unknown>>,
  clusters: readonly ClusterOnDisk[],
  hosts: readonly HostOnDisk[],
): object {
  return {
    ...sections,
    clusters: clusters.map(({ name, trusts, ha }) => ({
      name,
      ...(trusts === undefined ? {} : { trusts }),
      ha: ha ?? "shrink",
      hosts: hosts
        .filter((host) => host.cluster === name)
        .map((host) => ({ name: host.name, roles: host.roles, vars: host.vars })),
    })),
  };
}
