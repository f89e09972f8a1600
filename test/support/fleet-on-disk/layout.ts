import type { Role } from "@belay/shared";

/** A server that keeps a cluster's state, in place of a SQLite file. */
export type StateServer =
  | { readonly type: "etcd"; readonly endpoint: string; readonly prefix: string; readonly tls: PemFiles | null }
  | {
      readonly type: "postgresql";
      readonly host: string;
      readonly port: number;
      readonly role: string;
      readonly database: string;
      readonly passFile: string;
    };

export interface PemFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A cluster as asked for. */
export interface ClusterOnDisk {
  readonly name: string;
  /** The root cluster that it trusts. */
  readonly trusts?: string;
  readonly ha?: "shrink" | "rolling";
  /** Left out: a SQLite file below the layout's folder. */
  readonly state?: StateServer;
  readonly hosts: readonly { readonly name: string; readonly roles: readonly Role[] }[];
}

/** A whole fleet laid out as folders. Plain data: `layout.json` in its folder holds the same. */
export interface Layout {
  readonly dir: string;
  /** What every host has installed at first. */
  readonly version: string;
  readonly fleetFile: string;
  readonly clusters: readonly ClusterOnDisk[];
  readonly hosts: readonly HostOnDisk[];
}

/** One host: a folder that stands for its whole file system. */
export interface HostOnDisk {
  readonly name: string;
  readonly cluster: string;
  readonly roles: readonly Role[];
  readonly dir: string;
  readonly install: string;
  readonly config: string;
  /** The unit file and its environment: nothing reads them here, but a backup keeps them as on a real host. */
  readonly unit: string;
  readonly environment: string;
  readonly data: string;
  /** `/readyz`, `/healthz` and `/metrics` below it. */
  readonly diag: string;
  /** `/webapi/ping` below it; null: no proxy here. */
  readonly proxy: string | null;
  /** The shared backend's file; null: no auth here, or a server keeps its state. */
  readonly backend: string | null;
  readonly service: {
    readonly argv: readonly [string, ...string[]];
    readonly env: Readonly<Record<string, string>>;
    readonly pidFile: string;
    readonly logFile: string;
    /** What the agent puts into BELAY_SERVICE of every process of this service, and finds them by. */
    readonly marker: string;
  };
  readonly agent: {
    readonly config: string;
    readonly stateDir: string;
    readonly tokenFile: string;
    readonly token: string;
  };
  /** This host's `vars:` in fleet.yaml. */
  readonly vars: Readonly<Record<string, string>>;
}

/** The host of that name. Throws where there is none. */
export function hostOf(layout: Layout, name: string): HostOnDisk {
  const host = layout.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`no host ${name} in ${layout.dir}`);
  return host;
}
