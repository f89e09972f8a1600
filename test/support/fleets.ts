import { createHash } from "node:crypto";
import type { Fleet } from "@belay/controller/inventory/fleet";
import { parseFleet } from "@belay/controller/inventory/parse";
import type { FleetFacts, HostFact, PlanInput } from "@belay/controller/plan/input";
import { teleport } from "@belay/controller/products/teleport";
import type { Catalogue } from "@belay/controller/releases/catalogue";

/** Made-up fleets, facts and releases for planning: nothing of them exists anywhere. */

export const TODAY_5_TO_7 = ["5.4.2", "6.0.0", "6.2.31", "7.0.0", "7.1.0", "7.2.0-rc.1"];

/** A catalogue of these versions, each for amd64 and arm64, oss and ent. */
export function catalogueOf(versions: readonly string[] = TODAY_5_TO_7): Catalogue {
  return {
    releases: versions.map((version) => ({
      version,
      artifacts: ["amd64", "arm64"].flatMap((arch) =>
        (["oss", "ent"] as const).map((edition) => {
          const file = `teleport${edition === "ent" ? "-ent" : ""}-v${version}-linux-${arch}-bin.tar.gz`;
          return { os: "linux", arch, edition, fips: false, file, size: 50_000, sha256: sha256(file) };
        }),
      ),
    })),
  };
}

export function hostFact(version: string | null, more: Partial<HostFact> = {}): HostFact {
  return { version, reachable: true, os: "linux", arch: "amd64", edition: "oss", fips: false, ...more };
}

/** Facts of a fleet whose hosts all run `version`, but for those named in `others` (null: nothing is known). */
export function factsOf(
  fleet: Fleet,
  version: string,
  others: Readonly<Record<string, string | null | Partial<HostFact>>> = {},
  managed: Readonly<Record<string, string | null>> = {},
): FleetFacts {
  const hosts: Record<string, HostFact> = {};
  for (const { name } of fleet.clusters.flatMap((cluster) => cluster.hosts)) hosts[name] = hostFact(version);
  for (const [name, other] of Object.entries(others)) {
    hosts[name] = typeof other === "object" && other !== null ? hostFact(version, other) : hostFact(other);
  }
  return {
    hosts,
    managed: Object.fromEntries(Object.entries(managed).map(([name, server_version]) => [name, { server_version }])),
  };
}

/** A planning input for a fleet that is wholly at 5.4.2, unless `more` says otherwise. */
export function inputFor(fleet: Fleet | string, to: string, more: Partial<PlanInput> = {}): PlanInput {
  const declared = typeof fleet === "string" ? parseFleet(fleet, "fleet.yaml") : fleet;
  return {
    fleet: declared,
    profile: teleport,
    catalogue: catalogueOf(),
    facts: factsOf(declared, "5.4.2"),
    to,
    via: [],
    acceptRisks: [],
    quarantine: [],
    clusters: [],
    limit: [],
    ...more,
  };
}

/**
 * A fleet of `hosts` hosts in `clusters` clusters: one root and the rest its leaves, each with 2 auths, 2 proxies and
 * otherwise nodes.
 */
export function syntheticFleet(hosts: number, clusters: number): Fleet {
  const lines = ["fleet: synthetic", "clusters:"];
  for (let index = 0; index < clusters; index++) {
    const size = Math.floor(hosts / clusters) + (index < hosts % clusters ? 1 : 0);
    const name = `c${index}`;
    lines.push(
      `  - name: ${name}`,
      ...(index === 0 ? [] : ["    trusts: c0"]),
      "    hosts:",
      `      - { name: "${name}-auth-[1:2]", roles: [auth] }`,
      `      - { name: "${name}-proxy-[1:2]", roles: [proxy] }`,
      ...(size > 4 ? [`      - { name: "${name}-node-[1:${size - 4}]", roles: [node] }`] : []),
    );
  }
  return parseFleet(lines.join("\n"), "synthetic.yaml");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
