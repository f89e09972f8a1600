import type { ClusterName, HostName, Role } from "@belay/shared";

/** The fleet as declared in fleet.yaml, parsed, expanded and checked. Frozen: planning reads it, nothing writes it. */
export interface Fleet {
  readonly fleet: string;
  /** Name of the product profile. */
  readonly product: string;
  /** `production` unless said otherwise; anything else may take pre-releases (I11). */
  readonly environment: string;
  readonly clusters: readonly Cluster[];
  readonly gates: GatePolicies;
  readonly rollout: RolloutPolicies;
  readonly offline: "hold" | "quarantine";
  readonly backups: BackupPolicy;
  /**
   * `recorded`: belayd writes down who approved what. `signed`: approvers sign the plan themselves, so that hosts need not
   * believe belayd, and every plan begins with a gate.
   */
  readonly approvals: "recorded" | "signed";
  /** Variables of every host's ops; a cluster's and then a host's own win over these and over the profile's. */
  readonly vars: Vars;
}

export type Vars = Readonly<Record<string, string>>;

export interface Cluster {
  readonly name: ClusterName;
  /** The root cluster this one trusts (I2). */
  readonly trusts?: ClusterName;
  /** Auth and proxies are the vendor's; only nodes are ours. */
  readonly managed?: { readonly address: string };
  readonly ha: "shrink" | "rolling";
  readonly hosts: readonly Host[];
  readonly vars: Vars;
}

export interface Host {
  readonly name: HostName;
  /** Sorted in mandated order; the first is the role in whose stage the host goes. */
  readonly roles: readonly [Role, ...Role[]];
  readonly vars: Vars;
}

/** How long backups are kept, and whether they leave their hosts. */
export interface BackupPolicy {
  /** The newest this many of each host stay, on the host and where copies are. */
  readonly keep: number;
  /** Older ones go, though never the newest that is known to be whole; null: age is no reason. */
  readonly maxAgeMs: number | null;
  /** `belayd`: a backup counts only when a copy of it lies with belayd, read back. */
  readonly copy: "none" | "belayd";
  /** Public keys that copies are encrypted to; none: copies travel and lie as they are. */
  readonly recipients: readonly string[];
}

/** What happens when nobody answers a gate in time. */
export type OnTimeout = "hold" | "deny" | "proceed" | "rollback";

export interface GatePolicy {
  readonly approvals: number;
  /** Whose approvals count; absent: anybody's. */
  readonly group?: string;
  readonly timeoutMs: number;
  readonly onTimeout: OnTimeout;
  /** True: whoever starts a run may approve its gates too. */
  readonly requesterMayApprove?: boolean;
}

/**
 * Gate policies, the most particular first wins: `clusters.<name>.<kind>`, `clusters.<name>`, `<kind>` (a role or a gate
 * kind), `default`. Partial ones inherit what they leave out.
 */
export interface GatePolicies {
  readonly default: GatePolicy;
  readonly byKind: Readonly<Partial<Record<GateKind, Partial<GatePolicy>>>>;
  readonly byCluster: Readonly<
    Record<ClusterName, Readonly<Partial<Record<GateKind | "default", Partial<GatePolicy>>>>>
  >;
}

/**
 * A gate stands in front of a stage: `start` before everything, where approvals are signed; `auth` before the first auth crosses (the point of no return lies behind it),
 * `auth-rest` before the other auths, `proxy`, `node`; `failure` is opened by a run when a budget is spent.
 */
export type GateKind = "start" | "auth" | "auth-rest" | "proxy" | "node" | "failure";

/** How many at a time: a count, or a share of the stage's hosts such as `20%`. */
export type Amount = number | `${number}%`;

export interface RolloutPolicy {
  /** Hosts that go first, alone; their failure always stops the stage. */
  readonly canary: number;
  /** Batch sizes after the canary; the last one repeats. */
  readonly batch: readonly [Amount, ...Amount[]];
  readonly settleMs: number;
  /** Failures that are tolerated; one more stops the run at a failure gate (I9). */
  readonly budget: { readonly batch: Amount; readonly stage: Amount };
  /** Attempts of one step, retryable failures only, and how long a step may take in all. */
  readonly attempts: number;
  readonly stepTimeoutMs: number;
}

export interface RolloutPolicies {
  readonly auth: RolloutPolicy;
  readonly proxy: RolloutPolicy;
  readonly node: RolloutPolicy;
  /** Hosts working at once in preflight, fetch, backup and verify. */
  readonly parallel: number;
  /** Failures that the whole run may have. */
  readonly budgetRun: Amount;
}
