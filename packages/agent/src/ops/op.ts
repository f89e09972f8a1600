import type { OpKind, OpOf, Outcome } from "@belay/shared";
import type { Host } from "../host.js";
import type { PhaseData } from "../journal/record.js";

/** One carrying-out of an op, perhaps resumed after a crash. */
export interface Attempt {
  step: string;
  /** Say what would be done; change nothing. */
  check: boolean;
  /** People approved it, or this host believes whoever asks. If not: start nothing, and tell nothing that others keep. */
  vouched: boolean;
  /** Aborts at the op's deadline, with a `deadline-exceeded`, and when the agent stops. */
  signal: AbortSignal;
  /** Aborts only when the agent stops: the work stays open in the journal and is taken up again. */
  halt: AbortSignal;
  /** What an earlier life of this agent, or this one, noted last for this step. Undefined: that phase wasn't passed. */
  passed(phase: string): PhaseData | undefined;
  /** Notes a phase durably before it returns (I7). */
  pass(phase: string, data?: PhaseData): Promise<void>;
  /** Tells how far it is. Lossy, rate-limited. */
  progress(note: string, amount?: { done: number; total: number; unit: string }): void;
}

/** Carries out one kind of op. What it throws becomes a failed outcome; see retryable.ts. */
export type Perform<K extends OpKind> = (op: OpOf<K>, host: Host, attempt: Attempt) => Promise<Outcome>;
