import type { Command } from "./command.js";
import type { PlanAnswer, PlanRequest } from "./plans.js";

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
  /** When its host removed it, to make room; null: it is there. */
  readonly prunedAt: number | null;
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
