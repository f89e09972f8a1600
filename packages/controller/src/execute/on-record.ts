import { BelayError, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { Plan } from "../plan/plan.js";
import type { RunState } from "../run/state.js";
import type { RunLog } from "./ports.js";
import { readBack } from "./read-back.js";

/** Of which run, and where its record is. */
export interface OnRecordParts {
  readonly run: string;
  readonly plan: Plan;
  readonly log: RunLog;
  readonly logger: Logger;
}

/**
 * A run's state, beside what the disk has of it. A turn changes the state in place before its events are written; whoever
 * reads it meanwhile waits, because nobody may be told what a crash could take back (I14).
 */
export class OnRecord {
  readonly #parts: OnRecordParts;
  #state: RunState;
  #seq: number;
  /** While the state is ahead of the disk: settles when they are the same again. */
  #writing: Promise<void> | null = null;
  /** Why they are not, though nobody writes: what the disk has can't be read. */
  #unread: BelayError | null = null;

  private constructor(parts: OnRecordParts, state: RunState, seq: number) {
    this.#parts = parts;
    this.#state = state;
    this.#seq = seq;
  }

  /** Reads a run back from its log. */
  static async load(parts: OnRecordParts): Promise<OnRecord> {
    const { state, seq } = await readBack(parts.log, parts.run, parts.plan);
    return new OnRecord(parts, state, seq);
  }

  /** The state as memory has it: for the turn that is at work on it. */
  get state(): RunState {
    return this.#state;
  }

  /** The number of the last event that is on the disk. */
  get seq(): number {
    return this.#seq;
  }

  /**
   * Calls `read` once, with memory and disk the same. It must keep nothing of what it reads. Throws `run-unreadable`, until the
   * database works again.
   */
  async look<T>(read: () => T): Promise<T> {
    while (this.#writing !== null) await this.#writing;
    if (this.#unread !== null) throw this.#unread;
    return read();
  }

  /** The state is ahead of the disk from here until what this returns is called: whoever wants to look waits. */
  ahead(): () => void {
    let release = () => {};
    this.#writing = new Promise((resolve) => {
      release = resolve;
    });
    return () => {
      this.#writing = null;
      release();
    };
  }

  /** So many events of this state more are on the disk. */
  recorded(state: RunState, events: number): void {
    this.#state = state;
    this.#seq += events;
  }

  /** Takes the state from the disk. False: it can't be read, which is logged. */
  async reload(): Promise<boolean> {
    const { log, run, plan, logger } = this.#parts;
    try {
      const { state, seq } = await readBack(log, run, plan);
      this.#state = state;
      this.#seq = seq;
      this.#unread = null;
      return true;
    } catch (error) {
      this.#unread = new BelayError("run-unreadable", `run ${run} can't be read: ${errorInfo(error).message}`, {
        hint: "look at belayd's disk and log; the run goes on by itself when its database works again",
        cause: error,
      });
      logger.error({ run, err: error }, "cannot read the run back");
      return false;
    }
  }
}
