import type { BackupResult, ErrorInfo, HostName, OpKind, StepId } from "@belay/shared";
import { BelayError } from "@belay/shared";
import type { GateDecision } from "../api/contract.js";
import type { OnTimeout } from "../inventory/fleet.js";
import type { Gate, Hop, Plan, Stage } from "../plan/plan.js";
import type { GatePassage, RunEvent, RunResult } from "./event.js";
import type { Evidence } from "./evidence.js";
import type { Hardness } from "./tolerance.js";

/**
 * Where a run stands, folded from its events and from nothing else. The fold owns it and changes it in place, because a
 * copy of ten thousand hosts an event would make a run quadratic; everybody else only reads it. Counters are kept as
 * events come, so that no question costs a walk over the fleet.
 */
export interface RunState {
  readonly run: string;
  readonly plan: Plan;
  readonly check: boolean;
  readonly startedAt: number;
  readonly startedBy: string;
  /** Fencing number that steps carry now (I13), and since when. */
  fence: number;
  leaseAt: number;
  /** Events folded so far: the sequence number of the last one. */
  seq: number;
  lastAt: number;
  /** Every stage that this run visits, in plan order. */
  readonly stages: readonly StageRecord[];
  readonly stageIndex: ReadonlyMap<string, number>;
  /** The stage at work, or the one to start next; `stages.length` when all are finished. */
  current: number;
  batch: Batch | null;
  /** Gates that were opened, in order. */
  readonly gates: Map<string, GateRecord>;
  readonly failureGates: Map<string, FailureRecord>;
  openGate: GateRecord | null;
  openFailure: FailureRecord | null;
  readonly inFlight: Map<StepId, Flight>;
  /** Steps that ended `unknown`: a late truth may still come. */
  readonly unknown: Map<StepId, Flight>;
  readonly hosts: Map<HostName, HostRecord>;
  readonly setAside: Set<HostName>;
  /** Failures counted against the budget of the run. */
  failures: number;
  /** The newest `RECENT_FAILURES`. */
  readonly recentFailures: FailureNote[];
  /** The newest backup of each host in this run. */
  readonly backups: Map<HostName, BackupRecord>;
  pause: Asked | null;
  resumedAt: number;
  /** Why the run is on its way to its end, before it has got there. */
  ending: { readonly result: RunResult; readonly reason: string; readonly at: number } | null;
  ended: { readonly result: RunResult; readonly reason: string; readonly at: number } | null;
}

/** How many failures the views and the evidence can name. The counters count all. */
export const RECENT_FAILURES = 50;

export interface Asked {
  readonly by: string;
  readonly reason: string;
  readonly at: number;
}

export interface StageRecord {
  readonly stage: Stage;
  readonly hop: Hop;
  readonly hopIndex: number;
  /** Hosts in its batches (those only stopped are not counted). */
  readonly total: number;
  status: "pending" | "active" | "done";
  /** Index of the batch at work or worked last; null before the first. */
  batch: number | null;
  startedAt: number | null;
  endedAt: number | null;
  ok: number;
  /** Failures counted against the stage's budget. */
  failed: number;
  skipped: number;
  failureGates: number;
}

/** The hosts that go together now. Lives from `batch-started` to the next one. */
export interface Batch {
  /** -1: the stop list. */
  readonly index: number;
  readonly startedAt: number;
  readonly work: Map<HostName, HostWork>;
  /** Hosts with neither an end nor a failure yet. */
  open: number;
  /** Could take their first step now, in order. */
  readonly fresh: Set<HostName>;
  /** Could take a further step now. They go before the fresh ones, so that few hosts are half done at a time. */
  readonly begun: Set<HostName>;
  /** Wait for their next attempt. */
  readonly backingOff: Set<HostName>;
  /** Failed, and neither set aside nor tried again yet. */
  readonly failed: Map<HostName, Failure>;
  /** How many of `failed` no budget covers. */
  hard: number;
  /** Failures counted against the budget of the batch. */
  failures: number;
}

/** One host's way through the program of its stage. */
export interface HostWork {
  readonly host: HostName;
  readonly program: readonly OpKind[];
  status: "ready" | "flying" | "backing-off" | "done" | "failed" | "aside";
  /** Index of the op to do next. */
  next: number;
  /** Steps intended for op `next` so far: the number of the newest attempt, which never goes back. */
  attempts: number;
  /** Attempts since a person last asked for another go; `stage.attempts` limits these. */
  tries: number;
  /** When the first of those tries was intended. */
  triedSince: number | null;
  /** Not to be tried again before. */
  notBefore: number;
  /** Since when it could have taken its next step. */
  since: number;
  step: StepId | null;
  /** Check mode: an op failed, the others are asked all the same. */
  stumbled: boolean;
}

export interface Failure {
  readonly host: HostName;
  readonly error: ErrorInfo;
  readonly at: number;
  readonly unreachable: boolean;
  /** Why no budget covers it; null: budgets decide. */
  readonly hard: Hardness | null;
}

export interface FailureNote {
  readonly host: HostName;
  readonly stage: string;
  readonly error: ErrorInfo;
  readonly at: number;
}

/** A step on its way: recorded, sent or about to be, not ended. */
export interface Flight {
  readonly step: StepId;
  readonly stage: string;
  readonly batch: number;
  readonly host: HostName;
  readonly index: number;
  readonly op: OpKind;
  readonly attempt: number;
  readonly at: number;
  readonly deadlineAt: number;
}

/** What one host had in this run, in steps. */
export interface HostRecord {
  readonly host: HostName;
  ok: number;
  changed: number;
  failed: number;
  unreachable: number;
  /** Version it reached by this run's swaps; null: still the one it started with. */
  reached: string | null;
  aside: (Asked & { readonly stage: string | null }) | null;
  /** The first stage that went on without it. */
  missed: string | null;
  /** Check mode: ops that would change something. */
  readonly would: string[];
}

export interface BackupRecord {
  readonly hop: string;
  readonly result: BackupResult;
}

/** A gate between stages, from its opening on. */
export interface GateRecord {
  readonly gate: Gate;
  readonly stage: string;
  readonly openedAt: number;
  readonly expiresAt: number;
  readonly evidence: Evidence;
  readonly decisions: GateDecision[];
  expired: OnTimeout | null;
  passed: GatePassage | null;
}

/** A failure gate of any stage: kept beside the others so that people find what was decided, and by whom. */
export interface FailureRecord {
  readonly id: string;
  readonly stage: string;
  readonly cause: ErrorInfo;
  readonly openedAt: number;
  readonly evidence: Evidence;
  /** For `left-behind`, which stands in front of a hop: the hosts that somebody must answer for. */
  readonly leftBehind: readonly HostName[];
  decision: GateDecision | null;
}

/**
 * The state right after `run-started`. Throws `plan-mismatch` when the run was started for another plan (I6: what was
 * approved is what runs), `run-started` being the only event that can come first.
 */
export function startState(plan: Plan, event: RunEvent & { readonly type: "run-started" }): RunState {
  if (event.plan !== plan.id) {
    throw new BelayError("plan-mismatch", `run ${event.run} carries out plan ${event.plan}, not ${plan.id}`);
  }
  const hops = event.check ? plan.hops.slice(0, 1) : plan.hops;
  const stages = hops.flatMap((hop, hopIndex) => hop.stages.map((stage) => pendingStage(stage, hop, hopIndex)));
  return {
    run: event.run,
    plan,
    check: event.check,
    startedAt: event.at,
    startedBy: event.by,
    fence: event.fence,
    leaseAt: event.at,
    seq: 1,
    lastAt: event.at,
    stages,
    stageIndex: new Map(stages.map(({ stage }, index) => [stage.id, index])),
    current: 0,
    batch: null,
    gates: new Map(),
    failureGates: new Map(),
    openGate: null,
    openFailure: null,
    inFlight: new Map(),
    unknown: new Map(),
    hosts: new Map(),
    setAside: new Set(),
    failures: 0,
    recentFailures: [],
    backups: new Map(),
    pause: null,
    resumedAt: event.at,
    ending: null,
    ended: null,
  };
}

function pendingStage(stage: Stage, hop: Hop, hopIndex: number): StageRecord {
  return {
    stage,
    hop,
    hopIndex,
    total: stage.batches.reduce((sum, hosts) => sum + hosts.length, 0),
    status: "pending",
    batch: null,
    startedAt: null,
    endedAt: null,
    ok: 0,
    failed: 0,
    skipped: 0,
    failureGates: 0,
  };
}

/** The stage at work, or null between stages. */
export function activeStage(state: RunState): StageRecord | null {
  const record = state.stages[state.current];
  return record?.status === "active" ? record : null;
}

/** A host's record, made when first needed. Only the fold may call this. */
export function recordOf(state: RunState, host: HostName): HostRecord {
  let record = state.hosts.get(host);
  if (record === undefined) {
    record = {
      host,
      ok: 0,
      changed: 0,
      failed: 0,
      unreachable: 0,
      reached: null,
      aside: null,
      missed: null,
      would: [],
    };
    state.hosts.set(host, record);
  }
  return record;
}

/** The version a host has as far as this run knows: what its swaps reached, else what the plan found. */
export function versionOf(state: RunState, host: HostName): string | null {
  return state.hosts.get(host)?.reached ?? state.plan.hosts[host]?.version ?? null;
}
