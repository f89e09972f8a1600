import type { ErrorInfo, SignedStatement } from "@belay/shared";
import type { SignedApproval } from "../run/event.js";
import type { Evidence } from "../run/evidence.js";
import type { Command } from "./command.js";

/** `signed`: needed where the plan's approvals are signed. */
export interface ApproveCommand extends Command {
  readonly signed?: SignedStatement;
}

/** What one person answered. */
export interface GateDecision {
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
  readonly decisions: readonly GateDecision[];
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
