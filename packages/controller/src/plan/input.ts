import type { ClusterName, HostName, Sha256 } from "@belay/shared";
import type { Fleet } from "../inventory/fleet.js";
import type { Profile } from "../products/profile.js";
import type { Catalogue } from "../releases/catalogue.js";

/** Everything planning may look at. No clock, no store: the same input always gives the same plan, to the byte. */
export interface PlanInput {
  readonly fleet: Fleet;
  readonly profile: Profile;
  readonly catalogue: Catalogue;
  readonly facts: FleetFacts;
  readonly to: string;
  /** Stops that people chose, at most one in each major. */
  readonly via: readonly string[];
  readonly acceptRisks: readonly AcceptedRisk[];
  /** Hosts to leave aside, each with its reason. */
  readonly quarantine: readonly { readonly host: HostName; readonly reason: string }[];
  /** Empty: the whole fleet. */
  readonly clusters: readonly ClusterName[];
  readonly limit: readonly HostName[];
  /** The version of the belayd that will carry the plan out; absent: nobody says. */
  readonly belayd?: string;
}

export interface AcceptedRisk {
  readonly code: string;
  readonly subject: string;
  readonly by: string;
  readonly why: string;
}

/** What is known of the fleet. Hosts may be there that nobody declared. */
export interface FleetFacts {
  readonly hosts: Readonly<Record<HostName, HostFact>>;
  readonly managed: Readonly<Record<ClusterName, { readonly server_version: string | null }>>;
}

export interface HostFact {
  readonly version: string | null;
  readonly reachable: boolean;
  readonly os: string;
  readonly arch: string;
  readonly edition: string;
  readonly fips: boolean;
  /** The host's agent, as far as it is known; absent: nobody says. */
  readonly agent?: { readonly version: string | null; readonly protocol: number | null };
  /** Digest of how its service is defined; absent: nobody says. */
  readonly definition?: Sha256;
  /** Every whole version that lies on the host; absent: nobody knows. */
  readonly kept?: readonly string[];
}
