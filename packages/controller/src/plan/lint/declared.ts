import type { HostName } from "@belay/shared";
import type { Cluster, Fleet, Host } from "../../inventory/fleet.js";
import type { FleetFacts } from "../input.js";
import type { Plan } from "../plan.js";

/** What the linter reads of a fleet. */
export type DeclaredFleet = Pick<Fleet, "clusters" | "backups" | "approvals">;

/** A fleet of which nothing is known but what the plan says of it: for whoever has the plan alone, and must not believe more. */
export function fleetAsPlanned({ clusters, hosts, backups, approvals }: Plan): DeclaredFleet {
  const members = new Map<string, Host[]>(Object.keys(clusters).map((name) => [name, []]));
  for (const [name, { cluster, roles }] of Object.entries(hosts)) {
    const [first, ...others] = roles;
    if (first !== undefined) members.get(cluster)?.push({ name, roles: [first, ...others], vars: {} });
  }
  return {
    clusters: Object.entries(clusters).map(([name, { trusts, managed, ha }]): Cluster => {
      const more = { ...(trusts === undefined ? {} : { trusts }), ...(managed === undefined ? {} : { managed }) };
      return { name, ha, ...more, hosts: members.get(name) ?? [], vars: {} };
    }),
    backups: {
      keep: backups?.keep ?? 1,
      maxAgeMs: backups?.maxAgeMs ?? null,
      copy: backups?.copy?.to ?? "none",
      recipients: backups?.copy?.recipients ?? [],
    },
    approvals: approvals === undefined ? "recorded" : "signed",
  };
}

/** Every host at the version from which the plan says that it starts. */
export function factsAsPlanned({ clusters, hosts }: Plan): FleetFacts {
  const versions = Object.entries(hosts).map(
    ([name, { version, platform }]): [HostName, FleetFacts["hosts"][string]] => [
      name,
      { ...platform, version, reachable: true },
    ],
  );
  const managed = Object.entries(clusters).flatMap(([name, cluster]) =>
    cluster.managed === undefined ? [] : [[name, { server_version: cluster.managed.serverVersion }] as const],
  );
  return { hosts: Object.fromEntries(versions), managed: Object.fromEntries(managed) };
}
