import { type AgentMessage, BelayError, errorInfo, failed, type Outcome } from "@belay/shared";
import type { Approvals } from "../approvals/approvals.js";
import { isReading } from "../approvals/reading.js";
import type { Host } from "../host.js";
import type { Journal, JournalEntry } from "../journal/journal.js";
import type { Limits } from "../limits/limits.js";
import type { Attempt } from "../ops/op.js";
import { perform } from "../ops/registry.js";
import { isRetryable } from "../ops/retryable.js";
import { late } from "./looks.js";

const PROGRESS_EVERY_MS = 500;
/** Between tries to write down an outcome that the disk wouldn't take. */
const JOURNAL_RETRY_MS = 2_000;

/** Ops that change what the service runs. */
const MOVES: ReadonlySet<string> = new Set(["swap", "start", "stop", "restore", "upgrade-agent"]);
/** Ops that succeed where all is well. */
const WELL: ReadonlySet<string> = new Set(["preflight", "health"]);

export interface StepQueueOptions {
  journal: Journal;
  host: Host;
  /** Whom this host believes. */
  approvals: Pick<Approvals, "judgeAgain" | "believes">;
  /** What its owner lets nobody do. */
  limits: Pick<Limits, "mustAllow" | "isAny">;
  send: (message: AgentMessage) => void;
  /** Something on the host is different now: tells new facts, and settles when they are sent. */
  changed: () => Promise<void>;
  /** The newest facts that were told say that something isn't right. */
  toldUnwell: () => boolean;
}

/** Accepted steps, of which one at a time is carried out. How it ended is on disk before anybody is told (I7). */
export class StepQueue {
  readonly #options: StepQueueOptions;
  readonly #halting = new AbortController();
  readonly #waiting: JournalEntry[] = [];
  #working: Promise<void> | null = null;

  constructor(options: StepQueueOptions) {
    this.#options = options;
  }

  /** How many wait for the one that is under way. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Adds a step whose intent is on disk, and has not ended. */
  add(entry: JournalEntry): void {
    this.#waiting.push(entry);
    this.#working ??= this.#work();
  }

  /** Tells how a step ended; nothing while it hasn't. */
  tell(entry: JournalEntry): void {
    if (entry.ended === null) return;
    this.#options.send({ type: "outcome", step: entry.step, ...entry.ended });
  }

  /** Stops working. What is under way stays open in the journal. */
  async halt(): Promise<void> {
    this.#halting.abort(new BelayError("agent-halted", "the agent stops"));
    await this.#working;
  }

  async #work(): Promise<void> {
    // Behind the caller's own turn, so that a resumed step finds the agent wholly made.
    await null;
    for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift()) {
      if (this.#halting.signal.aborted) break;
      await this.#carryOut(entry);
    }
    this.#working = null;
  }

  async #carryOut(entry: JournalEntry): Promise<void> {
    const { host, changed, toldUnwell } = this.#options;
    const startedAt = Math.round(host.clock.now());
    const deadline = new AbortController();
    const disarm = host.clock.timer(entry.deadlineMs, () => deadline.abort(late(entry.deadlineMs)));
    try {
      const attempt = this.#attempt(entry, deadline.signal);
      const outcome = (await this.#judgeAgain(entry)) ?? (await perform(entry.op, host, attempt));
      if (!(await this.#writeDown(entry, outcome, startedAt))) return;
      // What holds is told after the facts that show it, so that a gate that opens on it shows them too (I8), and the way
      // back from a revert is planned from them. A failure is told at once: looking at a host in trouble takes its time.
      const moved = outcome.status === "done" && outcome.changed && MOVES.has(entry.op.kind);
      // Nor does a gate show a host as unwell, as it was a minute ago, that has just been found well.
      const refuted = outcome.status === "done" && WELL.has(entry.op.kind) && toldUnwell();
      if (moved || refuted || outcome.status === "reverted") await changed();
      this.tell(entry);
      if (outcome.status !== "done" && outcome.status !== "reverted") void changed();
    } catch (error) {
      if (!this.#halting.signal.aborted) throw error;
      host.log.info({ step: entry.step }, "step stays open: the agent stops");
    } finally {
      disarm();
    }
  }

  /**
   * What was allowed when it came may not be any more when its turn has come. Asked once, which is noted before the first effect:
   * what is begun is finished, or undone. Null: go on.
   */
  async #judgeAgain(entry: JournalEntry): Promise<Outcome | null> {
    const { approvals, limits, journal, host } = this.#options;
    if (entry.phases.length > 0 || (entry.approved === undefined && isReading(entry))) return null;
    if (!limits.isAny && approvals.believes({})) return null;
    try {
      await limits.mustAllow(entry);
      await approvals.judgeAgain(entry);
      await journal.phase(entry.step, "allowed", {}, Math.round(host.clock.now()));
      return null;
    } catch (error) {
      const why = errorInfo(error);
      host.log.warn({ step: entry.step, op: entry.op.kind, error: why }, "step refused when its turn came");
      return failed(why, isRetryable(why.code));
    }
  }

  #attempt(entry: JournalEntry, deadline: AbortSignal): Attempt {
    const { journal, host, approvals, send } = this.#options;
    const { step, check } = entry;
    let toldAt = Number.NEGATIVE_INFINITY;
    return {
      step,
      check,
      vouched: approvals.believes(entry),
      halt: this.#halting.signal,
      signal: AbortSignal.any([deadline, this.#halting.signal]),
      passed: (phase) => entry.phases.findLast((each) => each.phase === phase)?.data,
      pass: (phase, data = {}) => journal.phase(step, phase, data, Math.round(host.clock.now())),
      progress(note, amount) {
        if (host.clock.ticks() - toldAt < PROGRESS_EVERY_MS) return;
        toldAt = host.clock.ticks();
        send({ type: "progress", step, note, ...amount });
      },
    };
  }

  /** The effect is there, so its outcome must get to the disk: waits for a full one. False if the agent stops first. */
  async #writeDown(entry: JournalEntry, outcome: Outcome, startedAt: number): Promise<boolean> {
    const { journal, host } = this.#options;
    for (;;) {
      try {
        await journal.end(entry.step, { outcome, startedAt, endedAt: Math.round(host.clock.now()) });
        return true;
      } catch (error) {
        const why = errorInfo(error);
        host.log.error({ step: entry.step, error: why }, "outcome can't be written down yet");
        // Whoever watches the run must see what the step waits for.
        this.#options.send({
          type: "progress",
          step: entry.step,
          note: `${outcome.status}, but that can't be written down yet: ${why.message}`.slice(0, 512),
        });
        await host.clock.sleep(JOURNAL_RETRY_MS, this.#halting.signal).catch(() => {});
        if (this.#halting.signal.aborted) return false;
      }
    }
  }
}
