import { stringify } from "yaml";
import { type Addresses, STATE } from "./host.js";
import type { ClusterOnDisk, HostOnDisk, StateServer } from "./layout.js";

/** What a host must know of others: auths of its own cluster and of the root it trusts, and where state is kept. */
export interface Surroundings {
  readonly auths: readonly string[];
  readonly roots: readonly string[];
  readonly backendDir: string;
  readonly state: StateServer | null;
}

/** etc/teleport.yaml, in Teleport's own shape. */
export function teleportYaml(host: HostOnDisk, ports: Addresses, surroundings: Surroundings): string {
  const { auths, roots } = surroundings;
  return stringify({
    teleport: {
      nodename: host.name,
      data_dir: host.data,
      auth_servers: auths,
      ...(ports.auth === null ? {} : { storage: storage(surroundings) }),
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

function storage({ state, backendDir }: Surroundings): object {
  if (state === null) return { type: "sqlite", path: backendDir };
  if (state.type === "postgresql") {
    return {
      type: state.type,
      conn_string: `postgresql://${state.role}@${state.host}:${state.port}/${state.database}`,
    };
  }
  const { endpoint, prefix, tls } = state;
  const secured = tls === null ? {} : { tls_ca_file: tls.ca, tls_cert_file: tls.cert, tls_key_file: tls.key };
  return { type: state.type, peers: [endpoint], prefix, ...secured };
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
export function agentYaml(
  host: HostOnDisk,
  controllerUrl: string,
  { backendDir, state }: Surroundings,
  more: Readonly<Record<string, unknown>>,
): string {
  const { argv, env, pidFile, logFile } = host.service;
  return stringify({
    controller: controllerUrl,
    host: host.name,
    tokenFile: host.agent.tokenFile,
    stateDir: host.agent.stateDir,
    services: {
      teleport: { manager: "process", argv, pidFile, logFile, reloadSignal: "SIGHUP", restartDelayMs: 1000, env },
    },
    directories: host.backend === null ? [host.dir] : [host.dir, backendDir],
    commands: {},
    ...more,
    ...(state === null || !host.roles.includes("auth") ? {} : { backends: { [STATE]: ownerWords(state) } }),
  });
}

/** Where a cluster's state is, in the words of agent.yaml. */
function ownerWords(state: StateServer): object {
  if (state.type === "postgresql") {
    const { host, port, database, role, passFile } = state;
    return { kind: "postgres", host, port, database, user: role, passFile };
  }
  const { endpoint, prefix, tls } = state;
  const secured = tls === null ? {} : { caFile: tls.ca, certFile: tls.cert, keyFile: tls.key };
  return { kind: "etcd", endpoints: [endpoint], prefix: `${prefix}/`, ...secured };
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
