import { join } from "node:path";
import type { Role } from "@belay/shared";
import type { HostOnDisk, StateServer } from "./layout.js";

/** Ports of one host; null where it needs none. */
export interface Addresses {
  readonly diag: number;
  readonly auth: number | null;
  readonly proxy: number | null;
}

/** Where a host stands: the fleet's folder, its cluster, and the folder of its cluster's backend. */
export interface Place {
  readonly fleetDir: string;
  readonly cluster: string;
  readonly backendDir: string;
  readonly state: StateServer | null;
}

/** What agent.yaml calls the state of a cluster that a server keeps, and fleet.yaml by `backendName`. */
export const STATE = "teleport-state";

/** An agent gives its service no environment of its own, and a run of the tests that is ended knows what it has started by this. */
function runsMark(): Readonly<Record<string, string>> {
  const { BELAY_TEST_RUN } = process.env;
  return BELAY_TEST_RUN === undefined ? {} : { BELAY_TEST_RUN };
}

/** A host with all its paths and addresses, which follow from its name, its place and its ports. Writes nothing. */
export function describeHost(
  { fleetDir, cluster, backendDir, state }: Place,
  { name, roles, token }: { readonly name: string; readonly roles: readonly Role[]; readonly token: string },
  { diag, proxy }: Addresses,
): HostOnDisk {
  const dir = join(fleetDir, "hosts", name);
  const install = join(dir, "opt", "teleport");
  const config = join(dir, "etc", "teleport.yaml");
  const unit = join(dir, "etc", "systemd", "system", "teleport.service");
  const environment = join(dir, "etc", "default", "teleport");
  const data = join(dir, "var", "lib", "teleport");
  const stateDir = join(dir, "var", "lib", "belay-agent");
  const pidFile = join(dir, "run", "teleport.pid");
  const urls = { diag: `http://127.0.0.1:${diag}`, proxy: proxy === null ? null : `http://127.0.0.1:${proxy}` };
  const kept = roles.includes("auth") ? state : null;
  const backend = roles.includes("auth") && state === null ? join(backendDir, "sqlite.db") : null;
  const program = join(install, "current", "teleport");
  return {
    name,
    cluster,
    roles,
    dir,
    install,
    config,
    unit,
    environment,
    data,
    ...urls,
    backend,
    service: {
      argv: [program, "start", "--config", config, "--pid-file", pidFile, "--diag-addr", `127.0.0.1:${diag}`],
      env: { ...(kept?.type === "postgresql" ? { PGPASSFILE: kept.passFile } : {}), ...runsMark() },
      pidFile,
      logFile: join(dir, "var", "log", "teleport.log"),
      marker: join(stateDir, "teleport"),
    },
    agent: {
      config: join(dir, "etc", "belay", "agent.yaml"),
      stateDir,
      tokenFile: join(dir, "etc", "belay", "token"),
      token,
    },
    vars: {
      install,
      // Its service is started through the link itself.
      binDir: "",
      config,
      data,
      ...(backend === null ? {} : { backend }),
      ...(kept === null ? {} : { backendName: STATE }),
      diag: urls.diag,
      ...(urls.proxy === null ? {} : { proxy: urls.proxy }),
      backups: join(stateDir, "backups"),
      service: "teleport",
      unit,
      environment,
    },
  };
}
