import {
  type AgentMessage,
  BelayError,
  done,
  errorInfo,
  failed,
  MAX_FENCE,
  MAX_STEP_MS,
  type Outcome,
  type Step,
} from "@belay/shared";
import type { Approvals, Verdict } from "./approvals/approvals.js";
import { isReading } from "./approvals/reading.js";
import type { Host } from "./host.js";
import type { Journal, JournalEntry } from "./journal/journal.js";
import type { Limits } from "./limits/limits.js";
import { Looks, late, MAX_LOOKS } from "./looks.js";
import type { Attempt } from "./ops/op.js";
import { perform } from "./ops/registry.js";
import { isRetryable } from "./ops/retryable.js";

/** A controller sends a host one step at a time; more than this waiting means that something is wrong over there. */
const MAX_WAITING = 64;
const PROGRESS_EVERY_MS = 500;
/** Between tries to write down an outcome that the disk wouldn't take. */
const JOURNAL_RETRY_MS = 2_000;

/** Ops that change what the service runs. */
const MOVES: ReadonlySet<string> = new Set(["swap", "start", "stop", "restore", "upgrade-agent"]);

/** Many times what the longest op writes down, and little enough not to be missed. */
const RESERVE_BYTES = 1024 * 1024;

export interface StepsOptions {
  journal: Journal;
  host: Host;
  /** Whom this host believes. */
  approvals: Pick<Approvals, "judge" | "judgeAgain" | "believes">;
  /** What its owner lets nobody do. */
  limits: Pick<Limits, "mustAllow" | "isAny">;
  send: (message: AgentMessage) => void;
  /** How much room there is where the journal lies. */
  roomForJournal: () => Promise<{ path: string; freeBytes: number }>;
  /** Something on the host is different now: tells new facts, and settles when they are sent. */
  changed: () => Promise<void>;
}

/**
 * Takes steps in, writes down what it will do before it does it (I7), does one at a time, writes down how that ended, and
 * tells. A step it has seen before is answered from the journal, never done again (I7, I14).
 */
export class Steps {
  readonly #options: StepsOptions;
  readonly #looks: Looks;
  readonly #halting = new AbortController();
  readonly #accepting = new Set<string>();
  readonly #waiting: JournalEntry[] = [];
  /** Settles when the step before has been judged and written down, or refused. */
  #judged: Promise<void> = Promise.resolve();
  #fence: number;
  #line: string | null;
  #working: Promise<void> | null = null;

  constructor(options: StepsOptions) {
    this.#options = options;
    this.#looks = new Looks(options.host, options.send);
    this.#fence = options.journal.fence;
    this.#line = options.journal.line;
  }

  /** Takes up what an earlier life of this agent left open. Needs no controller. */
  resume(): void {
    for (const entry of this.#options.journal.open()) this.#enqueue(entry);
  }

  /** A step arrived. Resolves when its intent is on disk, or it was refused. */
  async receive(step: Step): Promise<void> {
    const { journal, send } = this.#options;
    const known = journal.entry(step.step);
    if (known !== undefined) {
      if (known.ended !== null) this.#tell(known);
      else send({ type: "accepted", step: step.step });
      return;
    }
    if (this.#accepting.has(step.step)) return;
    if (this.#waiting.length + this.#accepting.size >= MAX_WAITING) {
      this.#refuse(step, full(MAX_WAITING), true);
      return;
    }
    this.#accepting.add(step.step);
    // One after the other: whether a step is next hangs on what was accepted before it.
    const before = this.#judged;
    const accepted = before.then(() => this.#accept(step));
    this.#judged = accepted.then(
      () => {},
      () => {},
    );
    const entry = await accepted;
    if (entry === null) return;
    send({ type: "accepted", step: step.step });
    this.#enqueue(entry);
  }

  /** Writes the step's intent down, or refuses it: null. */
  async #accept(step: Step): Promise<JournalEntry | null> {
    const { journal, host } = this.#options;
    try {
      if (step.fence < this.#fence || this.#isAnothers(step)) {
        // I13: whoever sent this lost its lease. A refusal has no effect, so it needs no journal.
        this.#refuse(step, fenced(step.fence, this.#fence), false);
        return null;
      }
      // Beyond what is ever given out, and what hello could say: this host could not come back.
      if (step.fence > MAX_FENCE) {
        this.#refuse(step, fenced(step.fence, this.#fence), false);
        return null;
      }
      const verdict = await this.#judge(step);
      if (verdict === null) return null;
      // What nobody approved, where that is asked for, is fenced and fences nobody: else one look, with a number beyond all
      // others, would lock every belayd out.
      if (verdict.kind === "free" && !verdict.leads) {
        if (!this.#looks.begin(step)) this.#refuse(step, full(MAX_LOOKS), true);
        return null;
      }
      if (step.fence > this.#fence) this.#line = null;
      this.#fence = step.fence;
      this.#line = step.line ?? this.#line;
      const fence = this.#fence;
      const { op, check } = step;
      const within = verdict.kind === "due" ? verdict : { deadlineMs: step.deadlineMs, approved: undefined };
      const { approved } = within;
      // Protocol 1 knows no highest, and a timer that is longer than a timer can be fires at once.
      const deadlineMs = Math.min(within.deadlineMs, MAX_STEP_MS);
      await this.#needRoom();
      const line = this.#line === null ? {} : { line: this.#line };
      const intent = { step: step.step, op, fence, ...line, check, deadlineMs, at: host.clock.now() };
      const { proof } = step;
      await journal.accept(approved === undefined || proof === undefined ? intent : { ...intent, approved, proof });
      return journal.entry(step.step) ?? null;
    } catch (error) {
      // The intent is not on disk, so nothing is done (I7).
      host.log.error({ step: step.step, error: errorInfo(error) }, "step not accepted: the journal can't be written");
      // After a failed fsync the intent may be on the disk all the same, and be carried out by this agent's next life. To
      // refuse would be to promise that it isn't: silence lets the controller call it unknown, which is true (I7).
      if (errorInfo(error).code !== "journal-broken") this.#refuse(step, error, true);
      return null;
    } finally {
      this.#accepting.delete(step.step);
    }
  }

  /** Null: the step is answered, because it has been done, or this host doesn't let it be done. */
  async #judge(step: Step): Promise<Exclude<Verdict, { kind: "done" }> | null> {
    const { approvals, limits, host, journal, send } = this.#options;
    try {
      await limits.mustAllow(step);
      const verdict = await approvals.judge(step);
      if (verdict.kind !== "done") return verdict;
      const at = Math.round(host.clock.now());
      const ended = journal.entry(verdict.step)?.ended ?? { outcome: done(false), startedAt: at, endedAt: at };
      send({ type: "outcome", step: step.step, ...ended });
    } catch (error) {
      host.log.warn({ step: step.step, op: step.op.kind, error: errorInfo(error) }, "step refused");
      this.#refuse(step, error, errorInfo(error).code === "step-in-progress");
    }
    return null;
  }

  /** Two databases that grew apart give out the same numbers: the first of them to be seen here holds this one. */
  #isAnothers({ fence, line }: Step): boolean {
    return fence === this.#fence && line !== undefined && this.#line !== null && line !== this.#line;
  }

  /** Sends every outcome that nobody has confirmed: after each new connection. */
  redeliver(): void {
    this.#looks.redeliver();
    for (const entry of this.#options.journal.undelivered()) this.#tell(entry);
  }

  /** The controller has an outcome. */
  ack(step: string): void {
    this.#options.journal.ack(step);
    this.#looks.ack(step);
  }

  /** Stops working. What is under way stays open in the journal and is resumed by the next life. */
  async halt(): Promise<void> {
    this.#halting.abort(new BelayError("agent-halted", "the agent stops"));
    await this.#looks.halt();
    await this.#working;
  }

  /** What is begun must be finished, or undone: that takes room for the journal, and for the service's own files. */
  async #needRoom(): Promise<void> {
    const { path, freeBytes } = await this.#options.roomForJournal();
    if (freeBytes >= RESERVE_BYTES) return;
    throw new BelayError(
      "disk-full",
      `no space left on ${path}: ${freeBytes} bytes are free, ${RESERVE_BYTES} are needed`,
      {
        hint: "free some space, or prune old versions and backups",
        context: { path, freeBytes },
      },
    );
  }

  #enqueue(entry: JournalEntry): void {
    this.#waiting.push(entry);
    this.#working ??= this.#work();
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
    const { host, changed } = this.#options;
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
      if (moved || outcome.status === "reverted") await changed();
      this.#tell(entry);
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

  #tell(entry: JournalEntry): void {
    if (entry.ended === null) return;
    this.#options.send({ type: "outcome", step: entry.step, ...entry.ended });
  }

  #refuse(step: Step, error: unknown, retryable: boolean): void {
    const { host, send } = this.#options;
    const at = Math.round(host.clock.now());
    const outcome = failed(errorInfo(error), retryable);
    send({ type: "outcome", step: step.step, outcome, startedAt: at, endedAt: at });
  }
}

function fenced(fence: number, seen: number): BelayError {
  return new BelayError("fenced", `step sent under lease ${fence}, but lease ${seen} holds now`, {
    hint: "another belayd leads here, or this one's database is an old copy: belayd's log says which",
    context: { fence, seen },
  });
}

function full(many: number): BelayError {
  return new BelayError("step-queue-full", `${many} steps wait already`);
}
