import type { BackupCopySpec, ClusterName, HostName, Role, Sha256, StoredCopy } from "@belay/shared";
import type { GateKind, OnTimeout, Vars } from "../inventory/fleet.js";
import type { OpTemplate } from "../products/profile.js";

/** `restore`: puts one backup back, outside of any run that is undone. */
export type PlanKind = "upgrade" | "rollback" | "restore";

/**
 * A plan: the immutable, content-addressed list of everything a run will do. It holds every choice; execution has none.
 * `id` is the SHA-256 of the canonical JSON of all the other members. JSON-shaped: plain data, no undefined members.
 */
export interface Plan {
  readonly id: string;
  readonly format: 1;
  readonly kind: PlanKind;
  readonly fleet: string;
  readonly product: string;
  readonly environment: string;
  readonly to: string;
  readonly clusters: Readonly<Record<ClusterName, PlanCluster>>;
  readonly hosts: Readonly<Record<HostName, PlanHost>>;
  /** Artifacts that hosts will fetch, by version. */
  readonly releases: Readonly<Record<string, readonly PlanArtifact[]>>;
  readonly hops: readonly Hop[];
  /** Accepted risks are carried with who and why; the others are for reading. */
  readonly risks: readonly Risk[];
  /** Declared hosts that this plan leaves aside, each with its reason. */
  readonly quarantined: readonly { readonly host: HostName; readonly reason: string }[];
  /** Declared hosts that are ahead of the target and stay as they are. */
  readonly ahead: readonly HostName[];
  /** Hosts with an agent that nobody declared: listed, never touched. */
  readonly undeclared: readonly HostName[];
  /** Declared hosts outside `--cluster` / `--limit`. */
  readonly outOfScope: readonly HostName[];
  /** Failures that the whole run may have (I9). */
  readonly budgetRun: number;
  readonly vars: Vars;
  readonly programs: Readonly<Record<string, readonly OpTemplate[]>>;
  /** How long backups are kept and whether they leave their hosts. Absent in plans from before there was a choice. */
  readonly backups?: PlanBackups;
  /** Of plans whose approvals are signed: what approvers put their name to. Absent: belayd's word is enough. */
  readonly approvals?: SignedApprovals;
  /** For a restore: the backup it puts back. */
  readonly restore?: {
    readonly host: HostName;
    readonly backup: string;
    /** When it was taken: what came after is lost to the service. */
    readonly takenAt: number;
    /** What is there now is kept aside first. */
    readonly safetyBackup: boolean;
  };
  /** For a rollback: the run it undoes. */
  readonly undoes?: {
    readonly run: string;
    readonly plan: string;
    readonly scope: "stage" | "hop" | "run";
    /** What is there now is not kept aside before a backend is restored; absent: it is. */
    readonly safetyBackup?: false;
  };
}

/**
 * The root of a Merkle tree (RFC 6962) over every step that every host will be asked for, in the plan's order. Whose word
 * counts at a gate, and how many of them, is the gate's own rule; each host has its own besides.
 */
export interface SignedApprovals {
  readonly root: Sha256;
  readonly leaves: number;
}

export interface PlanBackups {
  readonly keep: number;
  readonly maxAgeMs: number | null;
  readonly copy: BackupCopySpec | null;
}

export interface PlanCluster {
  readonly trusts?: ClusterName;
  readonly managed?: { readonly address: string; readonly serverVersion: string };
  readonly ha: "shrink" | "rolling";
  readonly vars: Vars;
}

export interface PlanHost {
  readonly cluster: ClusterName;
  readonly roles: readonly Role[];
  /** The role in whose stage the host goes: its earliest. */
  readonly role: Role;
  /** Installed version that the plan starts from. */
  readonly version: string;
  readonly platform: Platform;
  /** Digest of how its service was defined; absent: nobody could say. Whoever changes it afterwards stops the run. */
  readonly definition?: Sha256;
  readonly vars: Vars;
}

export interface Platform {
  readonly os: string;
  readonly arch: string;
  readonly edition: string;
  readonly fips: boolean;
}

export interface PlanArtifact extends Platform {
  readonly size: number;
  readonly sha256: Sha256;
  readonly file: string;
}

export interface Hop {
  /** `hop-1`, `hop-2`, ... */
  readonly id: string;
  /** The lowest version that moves in this hop. */
  readonly from: string;
  readonly to: string;
  /** Rollbacks only: hosts that return to another version than `to`. */
  readonly targets?: Readonly<Record<HostName, string>>;
  readonly stages: readonly Stage[];
}

export type StageKind = "preflight" | "fetch" | "backup" | "auth" | "proxy" | "node" | "verify";

/**
 * One kind of work for one role of one cluster inside a hop. Its gate stands in front of it: nothing of this stage or
 * of any later one is dispatched before the gate has its approvals (I6). Order: gate, then `stop` (all of them), then
 * the batches one after the other.
 */
export interface Stage {
  /** `hop-1.main.auth`, unique in the plan; also the id of its gate. */
  readonly id: string;
  readonly cluster: ClusterName;
  readonly kind: StageKind;
  /** Null for stages that take all roles together. */
  readonly role: Role | null;
  readonly batches: readonly (readonly HostName[])[];
  readonly gate: Gate | null;
  /** Auth hosts stopped before the first batch (I5, `ha: shrink`). */
  readonly stop: readonly HostName[];
  /** Rollbacks and restores only: the backup that each of these hosts puts back before its binary is swapped, or reads back before. */
  readonly restores?: Readonly<Record<HostName, string>>;
  /** Where such a backup has left its host: the copy that stands in when the host's own is gone or damaged. */
  readonly copies?: Readonly<Record<HostName, StoredCopy>>;
  /** Which of `plan.programs` each host carries out: `program:role` if there is one, else `program`. */
  readonly program: string;
  /** Hosts at work at once, at most. */
  readonly parallel: number;
  /** How many leading batches are canaries: no failure is tolerated in them. */
  readonly canaries: number;
  readonly budget: { readonly batch: number; readonly stage: number };
  readonly settleMs: number;
  readonly stepTimeoutMs: number;
  readonly attempts: number;
}

export interface Gate {
  readonly id: string;
  readonly kind: GateKind;
  readonly approvals: number;
  readonly group: string | null;
  readonly timeoutMs: number;
  readonly onTimeout: OnTimeout;
  /** From here back, a restore is needed. */
  readonly pointOfNoReturn: boolean;
  /** Whoever starts the run may approve too; absent: they may not. */
  readonly requesterMayApprove?: true;
}

/** Something a person should know, or must accept by name, or that makes planning impossible. */
export interface Risk {
  readonly code: ReasonCode;
  /** What it is about: a host, a cluster, a version. */
  readonly subject: string;
  readonly message: string;
  readonly hint?: string;
  readonly accepted?: { readonly by: string; readonly why: string };
}

export const REASON_CODES = [
  "version-invalid",
  "prerelease-refused",
  "release-unknown",
  "release-blocked",
  "release-suspect",
  "downgrade-refused",
  "no-intermediate-release",
  "artifact-missing",
  "host-version-unknown",
  "host-unreachable",
  "left-behind",
  "skew-at-start",
  "trust-cycle",
  "trust-unknown",
  "cluster-without-auth",
  "host-duplicate",
  "role-unknown",
  "managed-version-unknown",
  "managed-too-old",
  "scope-unknown",
  "scope-breaks-invariant",
  "accepted-risk-unused",
  "nothing-to-roll-back",
  "backup-missing",
  "backup-newer",
  "backup-too-old",
  "program-invalid",
  "agent-too-old",
  "agent-skew",
] as const;
export type ReasonCode = (typeof REASON_CODES)[number];

/** What planning answers: a plan (with no hops when there is nothing to do), or every reason why not. */
export type PlanResult =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly to: string; readonly blocked: readonly Risk[]; readonly risks: readonly Risk[] };
