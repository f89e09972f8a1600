import type { HostFacts, Outcome, Step, StepId } from "@belay/shared";
import type { LoggedEvent } from "../api/contract.js";
import type { RunEvent } from "../run/event.js";
import type { BackupChange, RunRow } from "../store/runs.js";

/** A request with the name of whoever sent it, which is never theirs to say. */
export type ByPerson<T> = T & { readonly by: string };

/** What a runner needs of the store. */
export interface RunLog {
  append(run: string, lastSeq: number, events: readonly RunEvent[], backups: readonly BackupChange[]): Promise<void>;
  read(run: string, after: number, limit: number): Promise<LoggedEvent[]>;
}

/** What a runner needs of the fleet. */
export interface Hosts {
  isPresent(host: string): boolean;
  /** When an absent host was last heard of; null: never, or it is here. */
  absentSince(host: string): number | null;
  factsOf(host: string): HostFacts | null;
  /** The host's clock minus ours when its last facts came, milliseconds; null: it has not said. */
  clockOffsetOf(host: string): number | null;
  /**
   * Hands a step to the host's connection. False: there is none now; it is sent again when there is (idempotent by id).
   * Throws `agent-too-old`, and sends nothing, where the agent's protocol has no words for it.
   */
  send(host: string, step: Step): boolean;
  /** Tells the host that its outcome is on our disk. */
  acknowledge(host: string, step: StepId): void;
}

/** A lease that is kept alive while the run goes on. Held again after it was lost, it has a higher `fence` (I13). */
export interface HeldLease {
  readonly fence: number;
  readonly held: boolean;
  /** Keeps it no longer alive and gives it up to nobody: the next controller takes it over with the run. */
  rest(): void;
  /** The run is over: its clusters are free. Idempotent. */
  release(): Promise<void>;
}

/** An outcome as it came in, before anybody judged it. */
export interface Report {
  readonly host: string;
  readonly step: StepId;
  readonly outcome: Outcome;
}

/** Who follows a run. Called after events are on disk, and when progress or waits changed; must not throw. */
export interface RunWatcher {
  events(events: readonly LoggedEvent[]): void;
  changed(): void;
}

export type { RunRow };
