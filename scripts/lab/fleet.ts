import type { Role } from "@belay/shared";
import { stringify } from "yaml";

/** One host of the lab, as fleet.yaml declares it. */
export interface LabHost {
  readonly name: string;
  readonly cluster: "main" | "eu";
  readonly role: Role;
  /** Where its auth keeps its state. Left out: in etcd in the root cluster, in SQLite in the leaf. */
  readonly state?: "etcd" | "postgresql" | "sqlite";
  /**
   * The name of an installation that was there before Belay, as Teleport's own updater lays one out: versions below
   * /opt/teleport/<name>/versions, and links that lead into one of them. Left out: plain files in /usr/local/bin.
   */
  readonly layout?: string;
  /** Further fields of its agent.yaml. */
  readonly agent?: Readonly<Record<string, unknown>>;
}

/** The host of belayd, and of the servers that keep clusters' states. It is no part of the fleet. */
export const CONTROL = "belayd";
export const FEWEST_HOSTS = 6;
/** The name under which agents know their cluster's state, where it is no file of their own. */
export const BACKEND = "teleport-state";

export interface LabPolicy {
  /** How long a host must stay healthy to count as upgraded. */
  readonly settle: string;
  /** Further variables of the fleet. */
  readonly vars?: Readonly<Record<string, string>>;
  /** Further sections of fleet.yaml. */
  readonly sections?: Readonly<Record<string, unknown>>;
}

/**
 * Two clusters in so many hosts: a root with two auths in high availability, and a leaf that trusts it. What is left over
 * beyond the fewest becomes a second proxy, and then nodes of the root.
 */
export function labHosts(count: number): LabHost[] {
  const main = (name: string, role: Role): LabHost => ({ name, cluster: "main", role });
  const eu = (name: string, role: Role): LabHost => ({ name: `eu-${name}`, cluster: "eu", role });
  const fixed = [main("auth-1", "auth"), main("auth-2", "auth"), main("proxy-1", "proxy"), main("node-1", "node")];
  const leaf = [eu("auth-1", "auth"), eu("node-1", "node")];
  const spare = count - fixed.length - leaf.length;
  const more = [main("proxy-2", "proxy"), eu("proxy-1", "proxy")];
  const nodes = Array.from({ length: Math.max(0, spare - more.length) }, (_, index) =>
    main(`node-${index + 2}`, "node"),
  );
  const order: readonly Role[] = ["auth", "proxy", "node"];
  const sorted = (hosts: LabHost[]) => hosts.sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
  const all = [...fixed, ...leaf, ...more.slice(0, spare), ...nodes];
  return [
    ...sorted(all.filter(({ cluster }) => cluster === "main")),
    ...sorted(all.filter(({ cluster }) => cluster === "eu")),
  ];
}

/** Where an auth keeps its state. */
export function stateOf({ state, cluster }: LabHost): NonNullable<LabHost["state"]> {
  return state ?? (cluster === "main" ? "etcd" : "sqlite");
}

/** The folder below which the versions of a host's service lie, and the link to the one that is installed. */
export function installOf({ layout }: LabHost): string {
  return layout === undefined ? "/opt/belay/teleport" : `/opt/teleport/${layout}`;
}

export function fleetYaml(hosts: readonly LabHost[], policy: LabPolicy): string {
  const patient = { settle: policy.settle, budget: { batch: 0, stage: 0 } };
  const fleet = {
    fleet: "lab",
    // One person at the lab's shell sees both sides.
    gates: { default: { approvals: 1, timeout: "1h", onTimeout: "hold", requesterMayApprove: true } },
    rollout: {
      auth: patient,
      proxy: { canary: 1, batch: "50%", ...patient },
      node: { canary: 1, batch: [5, "20%"], ...patient },
    },
    vars: { proxy: "http://127.0.0.1:3080", ...policy.vars },
    clusters: (["main", "eu"] as const).map((cluster) => ({
      name: cluster,
      ...(cluster === "eu" ? { trusts: "main" } : {}),
      ...(hosts.some((host) => host.cluster === cluster && host.role === "auth" && stateOf(host) !== "sqlite")
        ? { vars: { backendName: BACKEND } }
        : {}),
      hosts: hosts.filter((host) => host.cluster === cluster).map(hostYaml),
    })),
    ...policy.sections,
  };
  // fleet.yaml has no aliases, so that what a line says stands in that line.
  return stringify(fleet, { aliasDuplicateObjects: false });
}

function hostYaml(host: LabHost): object {
  const { name, role, layout } = host;
  const vars = layout === undefined ? {} : { vars: { install: installOf(host), below: "bin" } };
  return { name, roles: [role], ...vars };
}
