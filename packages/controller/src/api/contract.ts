/**
 * What belayd answers over HTTP, as the CLI and the dashboard see it. JSON; times are milliseconds since the epoch.
 * Errors are `{ error: ErrorInfo }` with a 4xx or 5xx status. Every request carries `Authorization: Bearer <API token>`: who
 * asks is whoever's token that is, and docs/security.md says who may ask for what.
 *
 *   GET  /v1/status                                  Status
 *   GET  /v1/fleet                                   FleetView
 *   POST /v1/plans                 PlanRequest       PlanAnswer
 *   GET  /v1/plans                                   PlanSummary[]          newest first, ?limit=
 *   GET  /v1/plans/:plan                             Plan                   an unambiguous prefix of the id will do, everywhere
 *   POST /v1/runs                  RunRequest        RunView
 *   GET  /v1/runs                                    RunSummary[]           newest first, ?limit=
 *   GET  /v1/runs/:run                               RunView                `latest` names the newest run, everywhere
 *   GET  /v1/runs/:run/events?after=SEQ              { events: LoggedEvent[] }   at most 1000 a page
 *   GET  /v1/runs/:run/stream                        text/event-stream of RunView (`event: view`), at most 4 a second; ends with the run
 *   GET  /v1/runs/:run/log?host=&after=&follow=1     LogLine[]; with follow: text/event-stream of LogLine (`event: line`)
 *   GET  /v1/runs/:run/recap                         Recap
 *   GET  /v1/runs/:run/why                           { waits: Wait[] }
 *   POST /v1/runs/:run/pause|resume|abort  Command   RunView
 *   POST /v1/runs/:run/retry|skip  FailureCommand    RunView
 *   POST /v1/runs/:run/rollback    RollbackRequest   RollbackAnswer
 *   GET  /v1/gates?run=&all=1                        GateView[]             open ones; all=1: every gate of the run
 *   GET  /v1/gates/:run/:gate                        GateView
 *   POST /v1/gates/:run/:gate/approve|reject Command GateView
 *   POST /v1/gates/:run/:gate/break-glass   Command  GateView               an admin's alone; the reason is needed
 *   GET  /v1/hosts                                   HostView[]
 *   GET  /v1/hosts/:host                             HostView
 *   POST /v1/hosts/:host/quarantine|release Command  HostView
 *   GET  /v1/audit?since=&until=&who=&action=&run=&host=&before=&limit=   AuditPage   newest first
 *   GET  /v1/audit/entries/:seq                      AuditEntry
 *   GET  /v1/audit/files/*                           application/octet-stream   as c2sp.org/tlog-tiles: checkpoint, key, tile/...
 *   GET  /v1/backups?host=&run=                      BackupView[]
 *   GET  /v1/backups/:host/:backup                   BackupView
 *   POST /v1/backups/:host/:backup/verify?copy=1     BackupView             asks the host to read it back; copy=1: the copy instead
 *   POST /v1/backups/:host/:backup/restore RestoreRequest  RestoreAnswer
 *   GET  /v1/backups/:host/:backup/copy?sha256=      application/octet-stream   the copy as it is stored; also for that host's agent
 *   GET  /v1/releases                                ReleaseView[]
 *   POST /v1/releases?file=NAME&sha256=HEX           ReleaseView            body: the tarball, application/octet-stream
 *   POST /v1/releases/:version/block|unblock|clear Command  ReleaseView     clear: no longer suspect
 *   POST /v1/agents/tokens         JoinTokenRequest     JoinTokenMade          shown once, stored hashed
 *   GET  /v1/agents/tokens                           JoinTokenView[]        newest first
 *   DELETE /v1/agents/tokens/:host                   {}                     takes back what was not used
 *   POST /v1/agents/join           JoinRequest       Issued                 of a host that has a token, over TLS (shared/identity.ts)
 *   POST /v1/agents/renew          RenewRequest      Issued                 of a host, with the certificate before
 *   POST /v1/agents/show           {}                {}                     of a host: shows its new certificate
 *   GET  /v1/agents/identities                       IdentityView[]
 *   POST /v1/agents/identities/:host/revoke Command  {}
 *   GET  /v1/authorities                             AuthorityView[]
 *   POST /v1/authorities/rotate    PhaseCommand      AuthorityView[]
 *   POST /v1/authorities/activate  PhaseCommand      { authorities: AuthorityView[], tokensEnded: string[] }
 *   POST /v1/authorities/retire    PhaseCommand      AuthorityView[]
 *   GET  /v1/login?return=PATH                       302                    to the identity provider, for browsers
 *   GET  /v1/login/callback                          303                    from there, with a session's cookie
 *   POST /v1/logout                                  {}                     ends the browser's session
 *   POST /v1/login/device                            DeviceLogin            for the command line: a code to type elsewhere
 *   POST /v1/login/device/poll     { id }            DeviceAnswer           has the person decided?
 *   GET  /v1/whoami                                  Whoami
 *   GET  /v1/users                                   UserView[]
 *   POST /v1/users                 NewUser           UserView
 *   GET  /v1/users/:user                             UserView
 *   POST /v1/users/:user           UserChange        UserView
 *   DELETE /v1/users/:user                           {}
 *   GET  /v1/tokens?user=&all=1                      TokenView[]            one's own; admins: anybody's
 *   POST /v1/tokens                TokenRequest      TokenAnswer            shown once, stored hashed
 *   DELETE /v1/tokens/:token                         {}
 */
import type { ErrorInfo, HostFacts, SignedStatement } from "@belay/shared";
import type { AuditEntry } from "../audit/entry.js";
import type { Role } from "../people/roles.js";
import type { Plan, PlanKind, Risk } from "../plan/plan.js";
import type { AgentRollout } from "../products/viewpoint.js";
import type { Artifact } from "../releases/catalogue.js";
import type { RunEvent, RunResult, SignedApproval } from "../run/event.js";
import type { BrokenGlass, Evidence } from "../run/evidence.js";
import type { Wait } from "../run/wait.js";

export interface Status {
  readonly version: string;
  readonly fleet: string;
  readonly hosts: { readonly declared: number; readonly present: number; readonly undeclared: number };
  readonly activeRuns: readonly string[];
  /** In runs that go on: gates that an admin let pass alone. */
  readonly brokenGlass: readonly (BrokenGlass & { readonly run: string })[];
}

export interface FleetView {
  readonly fleet: string;
  readonly environment: string;
  readonly clusters: readonly {
    readonly name: string;
    readonly trusts: string | null;
    readonly managed: boolean;
    readonly hosts: number;
  }[];
}

export interface PlanRequest {
  readonly to: string;
  readonly via?: readonly string[];
  /** `CODE:SUBJECT`, and why. */
  readonly acceptRisks?: readonly { readonly code: string; readonly subject: string; readonly why: string }[];
  readonly quarantine?: readonly string[];
  readonly clusters?: readonly string[];
  readonly limit?: readonly string[];
  /** `belay-agent`: the agents themselves; absent: the fleet's own product. */
  readonly product?: string;
  /** For the agents' own upgrade: how many go first, and how many then, in place of the fleet's policy for nodes. */
  readonly rollout?: AgentRollout;
}

/** `changes` false and `ok` true: nothing to do. A plan with changes was linted and saved. */
export type PlanAnswer =
  | { readonly ok: true; readonly changes: boolean; readonly plan: Plan }
  | { readonly ok: false; readonly to: string; readonly blocked: readonly Risk[]; readonly risks: readonly Risk[] };

export interface PlanSummary {
  readonly id: string;
  readonly kind: PlanKind;
  readonly to: string;
  readonly hops: number;
  readonly hosts: number;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface RunRequest {
  readonly plan: string;
  readonly check?: boolean;
  /** Why, for the record. */
  readonly reason?: string;
}

export interface Command {
  readonly reason?: string;
}

/** `signed`: needed where the plan's approvals are signed. */
export interface ApproveCommand extends Command {
  readonly signed?: SignedStatement;
}

export interface FailureCommand extends Command {
  /** Empty or absent: all failed hosts. */
  readonly hosts?: readonly string[];
}

export interface RollbackRequest extends Command {
  readonly scope: "stage" | "hop" | "run";
  /** True: make the plan and show it, start nothing. */
  readonly planOnly?: boolean;
}

export interface RollbackAnswer {
  readonly plan: PlanAnswer;
  /** The rollback's run, or null with `planOnly`. */
  readonly run: string | null;
}

export interface RestoreRequest extends Command {
  /** False: what is there now is not kept aside first. */
  readonly safetyBackup?: boolean;
  readonly acceptRisks?: PlanRequest["acceptRisks"];
  /** True: make the plan and show it, start nothing. */
  readonly planOnly?: boolean;
}

export interface RestoreAnswer {
  readonly plan: PlanAnswer;
  /** The restore's run, or null with `planOnly`. */
  readonly run: string | null;
}

export type RunStatus = "running" | "waiting" | "pausing" | "paused" | "aborting" | "ended";

export interface RunSummary {
  readonly id: string;
  readonly plan: string;
  readonly kind: PlanKind;
  readonly to: string;
  readonly check: boolean;
  readonly status: RunStatus;
  readonly result: RunResult | null;
  readonly startedAt: number;
  readonly startedBy: string;
  readonly endedAt: number | null;
}

export interface StageView {
  readonly id: string;
  readonly hop: string;
  readonly cluster: string;
  readonly kind: string;
  readonly role: string | null;
  readonly status: "pending" | "gated" | "active" | "done";
  /** Batch at work, 1-based; 0 before the first. */
  readonly batch: number;
  readonly batches: number;
  readonly hosts: {
    readonly total: number;
    readonly ok: number;
    readonly failed: number;
    readonly active: number;
    readonly skipped: number;
  };
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

export interface RunView extends RunSummary {
  readonly stages: readonly StageView[];
  /** Up to 50; `inFlightTotal` counts all. */
  readonly inFlight: readonly {
    readonly step: string;
    readonly host: string;
    readonly op: string;
    readonly since: number;
    readonly note: string | null;
  }[];
  readonly inFlightTotal: number;
  readonly gate: GateView | null;
  readonly waits: readonly Wait[];
  /** Newest 50. */
  readonly failures: readonly {
    readonly host: string;
    readonly stage: string;
    readonly error: ErrorInfo;
    readonly at: number;
  }[];
  readonly quarantined: readonly { readonly host: string; readonly reason: string }[];
  /** Gates that an admin let pass alone. */
  readonly brokenGlass: readonly BrokenGlass[];
  /** When it should be done, judging by the pace so far and by earlier runs; null while nobody can tell. */
  readonly expectedEndAt: number | null;
  readonly lastSeq: number;
}

export interface GateView {
  readonly run: string;
  readonly gate: string;
  readonly kind: string;
  readonly stage: string;
  readonly status: "not-open" | "open" | "passed" | "rejected" | "expired" | "decided";
  readonly approvalsNeeded: number;
  readonly group: string | null;
  /** Who asked for the run, whose own approval does not count; null: it does. */
  readonly notBy: string | null;
  readonly decisions: readonly {
    /** `approve`, `reject` or `break-glass`; at a failure gate its answer. */
    readonly decision: string;
    readonly by: string;
    readonly reason: string;
    readonly at: number;
    /** Who made the token for them, and so may have answered in their name; absent: nobody else. */
    readonly tokenBy?: string;
    /** What was signed, and by which key, where the plan's approvals are signed. */
    readonly signed?: SignedApproval;
    /** When an approval stopped counting, because whoever gave it may not do so any more. */
    readonly lapsedAt?: number;
  }[];
  readonly openedAt: number | null;
  readonly expiresAt: number | null;
  readonly onTimeout: string;
  /** Open past its time: `hold` keeps such a gate open and flags it. */
  readonly overdue?: boolean;
  readonly pointOfNoReturn: boolean;
  /** Approvals must be signed. */
  readonly mustSign?: boolean;
  /** For a failure gate: what happened. */
  readonly cause: ErrorInfo | null;
  readonly evidence: Evidence | null;
}

export interface HostView {
  readonly host: string;
  readonly declared: boolean;
  readonly cluster: string | null;
  readonly roles: readonly string[];
  readonly present: boolean;
  readonly lastSeenAt: number | null;
  readonly facts: HostFacts | null;
  /** Host's clock minus ours at the last facts, milliseconds. */
  readonly clockOffsetMs: number | null;
  readonly quarantine: { readonly by: string; readonly reason: string; readonly at: number } | null;
}

export interface LogLine {
  readonly seq: number;
  readonly at: number;
  readonly host: string | null;
  readonly stage: string | null;
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

export interface LoggedEvent {
  readonly seq: number;
  readonly event: RunEvent;
}

/** A line a host, in Ansible's words. `ok` counts steps that found nothing to change. */
export interface Recap {
  readonly run: string;
  readonly result: RunResult | null;
  readonly hosts: readonly {
    readonly host: string;
    readonly ok: number;
    readonly changed: number;
    readonly unreachable: number;
    readonly failed: number;
    readonly skipped: number;
    readonly runs: string | null;
    /** In check mode: what each op would do. */
    readonly would?: readonly string[];
  }[];
}

export interface BackupView {
  readonly host: string;
  readonly backup: string;
  readonly run: string;
  readonly hop: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly items: number;
  readonly takenAt: number;
  readonly version: string | null;
  readonly verifiedAt: number | null;
  /** Copies that left the host, newest first. */
  readonly copies: readonly CopyView[];
}

export interface CopyView {
  readonly sha256: string;
  readonly bytes: number;
  readonly encrypted: boolean;
  readonly at: number;
  /** When it was last read back whole; null: never. */
  readonly verifiedAt: number | null;
}

export interface ReleaseView {
  readonly version: string;
  readonly blocked: string | null;
  readonly suspect: string | null;
  readonly artifacts: readonly (Artifact & { readonly stored: boolean })[];
}

/** Entries of the audit log, the newest first. */
export interface AuditPage {
  /** Its name. */
  readonly log: string;
  /** How many entries it has. */
  readonly size: number;
  readonly entries: readonly AuditEntry[];
  /** As `before` of the next page; null: that was all. */
  readonly next: number | null;
}

export interface JoinTokenRequest {
  readonly host: string;
  /** How long the host may take to join. */
  readonly ttlSeconds?: number;
  /** Not for joining: shown in the clear each time, by an agent of belayd's own machine (`agents.plaintextTokens`). */
  readonly plaintext?: boolean;
}

/** `expiresAt` null: never. */
export interface JoinTokenMade {
  readonly host: string;
  readonly token: string;
  readonly expiresAt: number | null;
}

export interface JoinTokenView {
  readonly host: string;
  readonly state: "unused" | "used" | "expired" | "ended" | "plaintext";
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number | null;
  readonly usedAt: number | null;
  readonly usedFrom: string | null;
  /** How often somebody tried it in vain, such as a second time, and the last of that. */
  readonly refusals: number;
  readonly refused: { readonly at: number; readonly from: string; readonly why: string } | null;
}

export interface IdentityView {
  readonly host: string;
  readonly present: boolean;
  /** How often it has joined. */
  readonly generation: number;
  readonly joinedAt: number;
  /** When its newest certificate ends. */
  readonly expiresAt: number;
  /** The authority of the newest that it has shown; null: it has shown none. */
  readonly issuer: string | null;
  readonly revoked: { readonly at: number; readonly by: string; readonly reason: string } | null;
}

export interface AuthorityView {
  /** SHA-256 of its public key. */
  readonly pin: string;
  readonly phase: "next" | "active" | "trusted";
  readonly since: number;
  readonly validUntil: number;
  /** PEM: for those who reach belayd over TLS with a tool of their own. */
  readonly certificate: string;
  readonly trustedBy: number;
  readonly notTrustedBy: readonly string[];
  readonly issuedTo: readonly string[];
}

/** `lose`: hosts that may be lost by this. */
export interface PhaseCommand extends Command {
  readonly lose?: readonly string[];
}

/** Who belayd takes the caller for. */
export interface Whoami {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  readonly via: string;
  readonly expiresAt: number | null;
}

export interface UserView {
  readonly name: string;
  readonly roles: readonly Role[];
  /** Those of belayd.yaml too. */
  readonly groups: readonly string[];
  /** The identity provider that knows them; null: they have tokens alone. */
  readonly issuer: string | null;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface NewUser {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups?: readonly string[];
  /** True: somebody who was removed is back. */
  readonly again?: boolean;
}

/** What is left out stays. */
export interface UserChange {
  readonly roles?: readonly Role[];
  readonly groups?: readonly string[];
}

export interface TokenRequest {
  readonly name: string;
  /** Whose; absent: one's own. */
  readonly user?: string;
  /** What it is good for; absent: whatever its user may do at the time. */
  readonly roles?: readonly Role[];
  readonly ttlMs?: number;
}

export interface TokenView {
  readonly id: string;
  readonly user: string;
  readonly name: string;
  readonly roles: readonly Role[] | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number;
  readonly usedAt: number | null;
  readonly revokedAt: number | null;
}

export interface TokenAnswer extends TokenView {
  readonly token: string;
}

/** What a person without a browser here types elsewhere. */
export interface DeviceLogin {
  /** To ask again with; nobody else's business. */
  readonly id: string;
  readonly code: string;
  readonly url: string;
  /** The same with the code in it, where the provider has one. */
  readonly urlWithCode: string | null;
  readonly expiresAt: number;
}

export interface DeviceAnswer {
  /** Null: not decided yet. */
  readonly token: string | null;
}
