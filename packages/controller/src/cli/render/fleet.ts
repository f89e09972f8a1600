import type { FleetView } from "../../api/contract.js";
import { plural, table } from "./text.js";

export function fleetLines({ fleet, environment, clusters }: FleetView): string[] {
  const hosts = clusters.reduce((sum, cluster) => sum + cluster.hosts, 0);
  return [
    `fleet ${fleet} (${environment}): ${plural(clusters.length, "cluster")}, ${plural(hosts, "host")}`,
    ...table(
      clusters.map((cluster) => [
        `  ${cluster.name}`,
        plural(cluster.hosts, "host"),
        [
          ...(cluster.trusts === null ? [] : [`trusts ${cluster.trusts}`]),
          ...(cluster.managed ? ["managed"] : []),
        ].join(", "),
      ]),
    ),
  ];
}
