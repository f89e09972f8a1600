import type { ErrorInfo, HostName, OpKind, Outcome, SignedStatement, StepId } from "@belay/shared";
import type { OnTimeout } from "../inventory/fleet.js";
import type { Evidence } from "./evidence.js";

/**
 * What happened in a run. The run's state is a fold over these and over nothing else; every one is on disk before
 * anything acts on it (I7, I14). `at` is milliseconds since the epoch on the controller's clock. People are named by
 * `by`; Belay itself is `belayd`.
 */
export type RunEvent = Stamped &
  (
    | RunStarted
    | LeaseTaken
    | StageStarted
    | StageFinished
    | BatchStarted
    | GateOpened
    | GateDecided
    | ApprovalLapsed
    | ApprovalRenewed
    | GatePassed
    | GateExpired
    | StepIntended
    | StepEnded
    | FailureOpened
    | FailureDecided
    | HostUnreachable
    | HostQuarantined
    | HostReleased
    | PauseAsked
    | Resumed
    | AbortAsked
    | RunEnded
  );

/** The event of one type: `EventOf<"step-ended">`. */
export type EventOf<T extends RunEvent["type"]> = Extract<RunEvent, { readonly type: T }>;

export interface Stamped {
  readonly at: number;
}

/** Always the first. `fence` is the fencing number of the lease the run starts under (I13). */
export interface RunStarted {
  readonly type: "run-started";
  readonly run: string;
  readonly plan: string;
  /** True: every agent is asked what it would do; nothing is changed, gates are passed over. */
  readonly check: boolean;
  readonly by: string;
  readonly reason?: string;
  readonly fence: number;
}

/** A controller took the run up (again), after a restart for instance. From here, steps carry this fence. */
export interface LeaseTaken {
  readonly type: "lease-taken";
  readonly owner: string;
  readonly fence: number;
}

export interface StageStarted {
  readonly type: "stage-started";
  readonly stage: string;
}

export interface StageFinished {
  readonly type: "stage-finished";
  readonly stage: string;
}

/** `batch` is an index into the stage's batches; -1 is its `stop` list. */
export interface BatchStarted {
  readonly type: "batch-started";
  readonly stage: string;
  readonly batch: number;
}

export interface GateOpened {
  readonly type: "gate-opened";
  readonly gate: string;
  readonly evidence: Evidence;
  readonly expiresAt: number;
}

/**
 * `break-glass`: an admin lets the gate pass alone, whatever it asks for, and says why. It is the one way past a gate
 * without its approvals, and every view of the run tells of it.
 */
export interface GateDecided {
  readonly type: "gate-decided";
  readonly gate: string;
  readonly decision: "approve" | "reject" | "break-glass";
  readonly by: string;
  readonly groups: readonly string[];
  readonly reason: string;
  /** Who made the token for whoever this is, and so may have answered in their name; absent: nobody else. */
  readonly tokenBy?: string;
  /** Of plans whose approvals are signed: what was signed. It goes to the hosts with every step behind the gate. */
  readonly signed?: SignedApproval;
}

export interface SignedApproval extends SignedStatement {
  /** The key's fingerprint, as ssh-keygen says it. */
  readonly key: string;
  /** Whose key belayd's own list says it is; absent: it has none. */
  readonly signer?: string;
}

/** Somebody who approved an open gate could not do so any more: removed, or without the role or the group it takes. */
export interface ApprovalLapsed {
  readonly type: "approval-lapsed";
  readonly gate: string;
  /** Whose approval. */
  readonly of: string;
}

/**
 * Somebody signed once more for a gate that is passed, because what was signed ends to count, or hosts ask for more than the gate
 * did. Only of plans whose approvals are signed.
 */
export interface ApprovalRenewed {
  readonly type: "approval-renewed";
  readonly gate: string;
  readonly by: string;
  readonly groups: readonly string[];
  readonly reason: string;
  readonly signed: SignedApproval;
}

export interface GatePassed {
  readonly type: "gate-passed";
  readonly gate: string;
  readonly how: GatePassage;
}

export type GatePassage = "approvals" | "timeout" | "break-glass";

/** Nobody answered in time; `action` is what the gate's policy says then. */
export interface GateExpired {
  readonly type: "gate-expired";
  readonly gate: string;
  readonly action: OnTimeout;
}

/** Recorded before the step leaves (I7). The op itself follows from plan, stage, host and index. */
export interface StepIntended {
  readonly type: "step-intended";
  readonly step: StepId;
  readonly stage: string;
  readonly batch: number;
  readonly host: HostName;
  readonly index: number;
  readonly op: OpKind;
  readonly attempt: number;
  /** The controller gives the step up as unknown when it has heard no outcome by then. */
  readonly deadlineAt: number;
}

/** May come a second time for a step that had ended `unknown`: the late truth replaces it. */
export interface StepEnded {
  readonly type: "step-ended";
  readonly step: StepId;
  readonly outcome: Outcome;
}

/** A failure gate: a budget is spent, or something happened that no budget covers (drift, a failed canary). */
export interface FailureOpened {
  readonly type: "failure-opened";
  /** `<stage>.failure-<n>` */
  readonly gate: string;
  readonly stage: string;
  readonly cause: ErrorInfo;
  readonly evidence: Evidence;
}

/** `hosts`: for retry and skip, which of the failed ones (empty: all of them). Skipped hosts are quarantined. */
export interface FailureDecided {
  readonly type: "failure-decided";
  readonly gate: string;
  readonly decision: "retry" | "skip" | "rollback" | "abort";
  readonly hosts: readonly HostName[];
  readonly by: string;
  readonly reason: string;
}

/**
 * A host of the batch at work stayed away for a whole step timeout, so its next step was never sent: it failed in this
 * stage with nothing done to it. (A step that was sent and never answered ends as `unknown` instead.)
 */
export interface HostUnreachable {
  readonly type: "host-unreachable";
  readonly stage: string;
  readonly batch: number;
  readonly host: HostName;
}

/** Set aside for the rest of this run, or until it is released: gets no further step, counts as skipped. */
export interface HostQuarantined {
  readonly type: "host-quarantined";
  readonly host: HostName;
  readonly by: string;
  readonly reason: string;
}

/** A person took a host back that had missed nothing of its stages yet. */
export interface HostReleased {
  readonly type: "host-released";
  readonly host: HostName;
  readonly by: string;
  readonly reason: string;
}

/** From here nothing is dispatched; the run is `pausing` until nothing is in flight, then `paused` (I12). */
export interface PauseAsked {
  readonly type: "pause-asked";
  readonly by: string;
  readonly reason: string;
}

export interface Resumed {
  readonly type: "resumed";
  readonly by: string;
}

/**
 * From here nothing is dispatched; the run ends as `aborted` when nothing is in flight any more, or as `rolled-back`
 * with `rollback`: a person asked for one while no failure gate was open.
 */
export interface AbortAsked {
  readonly type: "abort-asked";
  readonly rollback?: true;
  readonly by: string;
  readonly reason: string;
}

/** Always the last. `rolled-back`: a rollback was asked for; its own run follows. */
export interface RunEnded {
  readonly type: "run-ended";
  readonly result: RunResult;
  readonly reason: string;
}

export type RunResult = "done" | "aborted" | "denied" | "rolled-back";
