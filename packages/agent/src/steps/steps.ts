import { BelayError, done, errorInfo, failed, MAX_STEP_MS, type Step } from "@belay/shared";
import type { Approvals, Verdict } from "../approvals/approvals.js";
import type { JournalEntry } from "../journal/journal.js";
import { Lease } from "./lease.js";
import { Looks, MAX_LOOKS } from "./looks.js";
import { StepQueue, type StepQueueOptions } from "./queue.js";

/** A controller sends a host one step at a time; more than this waiting means that something is wrong over there. */
const MAX_WAITING = 64;

/** Many times what the longest op writes down, and little enough not to be missed. */
const RESERVE_BYTES = 1024 * 1024;

export interface StepsOptions extends StepQueueOptions {
  approvals: StepQueueOptions["approvals"] & Pick<Approvals, "judge">;
  /** How much room there is where the journal lies. */
  roomForJournal: () => Promise<{ path: string; freeBytes: number }>;
}

/**
 * Takes steps in, writes down what it will do before it does it (I7), does one at a time, writes down how that ended, and
 * tells. A step it has seen before is answered from the journal, never done again (I7, I14).
 */
export class Steps {
  readonly #options: StepsOptions;
  readonly #lease: Lease;
  readonly #looks: Looks;
  readonly #queue: StepQueue;
  readonly #accepting = new Set<string>();
  /** Settles when the step before has been judged and written down, or refused. */
  #judged: Promise<void> = Promise.resolve();

  constructor(options: StepsOptions) {
    this.#options = options;
    this.#lease = new Lease(options.journal);
    this.#looks = new Looks(options.host, options.send);
    this.#queue = new StepQueue(options);
  }

  /** Takes up what an earlier life of this agent left open. Needs no controller. */
  resume(): void {
    for (const entry of this.#options.journal.open()) this.#queue.add(entry);
  }

  /** A step arrived. Resolves when its intent is on disk, or it was refused. */
  async receive(step: Step): Promise<void> {
    const { journal, send } = this.#options;
    const known = journal.entry(step.step);
    if (known !== undefined) {
      if (known.ended !== null) this.#queue.tell(known);
      else send({ type: "accepted", step: step.step });
      return;
    }
    if (this.#accepting.has(step.step)) return;
    if (this.#queue.length + this.#accepting.size >= MAX_WAITING) {
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
    this.#queue.add(entry);
  }

  /** Writes the step's intent down, or refuses it: null. */
  async #accept(step: Step): Promise<JournalEntry | null> {
    const { journal, host } = this.#options;
    try {
      const lost = this.#lease.refusal(step);
      if (lost !== null) {
        // I13: whoever sent this lost its lease. A refusal has no effect, so it needs no journal.
        this.#refuse(step, lost, false);
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
      const lease = this.#lease.follow(step);
      const within = verdict.kind === "due" ? verdict : { deadlineMs: step.deadlineMs, approved: undefined };
      // Protocol 1 knows no highest, and a timer that is longer than a timer can be fires at once.
      const deadlineMs = Math.min(within.deadlineMs, MAX_STEP_MS);
      await this.#needRoom();
      const { op, check, proof } = step;
      const { approved } = within;
      const intent = { step: step.step, op, ...lease, check, deadlineMs, at: host.clock.now() };
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

  /** Sends every outcome that nobody has confirmed: after each new connection. */
  redeliver(): void {
    this.#looks.redeliver();
    for (const entry of this.#options.journal.undelivered()) this.#queue.tell(entry);
  }

  /** The controller has an outcome. */
  ack(step: string): void {
    this.#options.journal.ack(step);
    this.#looks.ack(step);
  }

  /** Stops working. What is under way stays open in the journal and is resumed by the next life. */
  async halt(): Promise<void> {
    await Promise.all([this.#queue.halt(), this.#looks.halt()]);
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

  #refuse(step: Step, error: unknown, retryable: boolean): void {
    const { host, send } = this.#options;
    const at = Math.round(host.clock.now());
    const outcome = failed(errorInfo(error), retryable);
    send({ type: "outcome", step: step.step, outcome, startedAt: at, endedAt: at });
  }
}

function full(many: number): BelayError {
  return new BelayError("step-queue-full", `${many} steps wait already`);
}
