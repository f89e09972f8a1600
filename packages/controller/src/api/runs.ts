import type { ErrorInfo } from "@belay/shared";
import type { PlanKind } from "../plan/plan.js";
import type { RunEvent, RunResult } from "../run/event.js";
import type { BrokenGlass } from "../run/evidence.js";
import type { Wait } from "../run/wait.js";
import type { Command } from "./command.js";
import type { GateView } from "./gates.js";
import type { PlanAnswer } from "./plans.js";

export interface RunRequest {
  readonly plan: string;
  readonly check?: boolean;
  /** Why, for the record. */
  readonly reason?: string;
}

export interface FailureCommand extends Command {
  /** Empty or absent: all failed hosts. */
  readonly hosts?: readonly string[];
}

export interface RollbackRequest extends Command {
  readonly scope: "stage" | "hop" | "run";
  /** False: what is there now is not kept aside before a backend is restored. */
  readonly safetyBackup?: boolean;
  /** True: make the plan and show it, start nothing. */
  readonly planOnly?: boolean;
}

export interface RollbackAnswer {
  readonly plan: PlanAnswer;
  /** The rollback's run, or null with `planOnly`. */
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
