import type { HostFacts } from "@belay/shared";
import type { Fleet, RolloutPolicy, Vars } from "../inventory/fleet.js";
import type { Profile } from "./profile.js";

/** What people may set for one upgrade of the agents alone; the rest is the fleet's own policy for nodes. */
export type AgentRollout = Partial<Pick<RolloutPolicy, "canary" | "batch">>;

/**
 * The fleet as a product sees it. To the agents' own upgrade every host is a node, of whatever roles and in whosever
 * cluster: the same clusters are held (I13), and the order of roles says nothing.
 */
export function fleetSeenBy(profile: Profile, fleet: Fleet, rollout: AgentRollout = {}): Fleet {
  if (profile.ofAgents !== true) return fleet;
  const own = (vars: Vars) => Object.fromEntries(Object.entries(vars).filter(([name]) => name in profile.vars));
  return {
    ...fleet,
    product: profile.product,
    rollout: { ...fleet.rollout, node: { ...fleet.rollout.node, ...rollout } },
    vars: own(fleet.vars),
    clusters: fleet.clusters.map(({ managed: _, ...cluster }) => ({
      ...cluster,
      vars: own(cluster.vars),
      hosts: cluster.hosts.map((host) => ({ ...host, roles: ["node"], vars: own(host.vars) })),
    })),
  };
}

/** What a host said of itself, as a product asks: what is installed and runs is the agent's own version for its upgrade. */
export function factsSeenBy(profile: Profile, facts: HostFacts | null): HostFacts | null {
  if (facts === null || profile.ofAgents !== true) return facts;
  const { agentVersion } = facts;
  const { definition: _, ...service } = facts.service;
  return { ...facts, installed: agentVersion, running: agentVersion, edition: "oss", fips: false, service };
}
