import type { Op, Outcome, StepProof } from "@belay/shared";
import type { JournalDisk } from "./disk.js";
import {
  type AcceptedRecord,
  type ApprovedRunRecord,
  type ApprovedStep,
  decodeLines,
  type JournalRecord,
  type PhaseData,
} from "./record.js";
import { JournalWriter } from "./writer.js";

/** One step as the journal knows it. */
export interface JournalEntry {
  step: string;
  op: Op;
  check: boolean;
  deadlineMs: number;
  /** In the order in which they were passed. */
  phases: { phase: string; data: PhaseData; at: number }[];
  ended: { outcome: Outcome; startedAt: number; endedAt: number } | null;
  acked: boolean;
  approved?: ApprovedStep;
  /** Until it has ended. */
  proof?: StepProof;
}

/** An approved run, with how often its next step was tried. */
type ApprovedRun = ApprovedRunRecord & { tries: number };

/** Outcomes of acked steps that are kept to answer repeats, and how many more may pile up before compacting. */
const KEEP_ACKED = 1000;
const COMPACT_SLACK = 500;

/**
 * The agent's memory (I7, I14): what it accepted, how far each op came, how each ended. State is a fold over records,
 * and changes only after the record that changes it is on disk; `acked` alone may be lost (the outcome is sent again).
 */
export class Journal {
  readonly id: string;
  readonly #writer: JournalWriter;
  readonly #keepAcked: number;
  readonly #entries = new Map<string, JournalEntry>();
  /** The one that a step was accepted of last comes last. */
  readonly #runs = new Map<string, ApprovedRun>();
  #madeAt = 0;
  #fence = 0;
  #line: string | null = null;
  #acked = 0;

  private constructor(id: string, writer: JournalWriter, keepAcked: number) {
    this.id = id;
    this.#writer = writer;
    this.#keepAcked = keepAcked;
  }

  /**
   * Opens a journal, making it with a new id when there is none. A torn tail is cut off; throws `journal-corrupt` for
   * any other damage.
   */
  static async open(disk: JournalDisk, make: { id: () => string; now: number; keepAcked?: number }): Promise<Journal> {
    const back = decodeLines(await disk.read(), disk.file);
    await disk.truncate(back.goodBytes);
    const writer = new JournalWriter(disk, back.goodBytes, back.lastGroup);
    const first = back.records.find((record) => record.kind === "journal");
    const journal = new Journal(first?.id ?? make.id(), writer, make.keepAcked ?? KEEP_ACKED);
    for (const record of back.records) journal.#apply(record);
    if (first === undefined) await journal.#append({ kind: "journal", id: journal.id, madeAt: make.now });
    writer.betweenGroups = () => journal.#compactIfDue();
    return journal;
  }

  /** When it was begun, by this host's clock. Of what was before, this host remembers nothing. */
  get madeAt(): number {
    return this.#madeAt;
  }

  /** The highest fencing number ever accepted (I13). */
  get fence(): number {
    return this.#fence;
  }

  /** Which belayd gave that number out; null: one that doesn't say. */
  get line(): string | null {
    return this.#line;
  }

  entry(step: string): JournalEntry | undefined {
    return this.#entries.get(step);
  }

  /** Accepted steps with no outcome yet, oldest first. */
  open(): JournalEntry[] {
    return [...this.#entries.values()].filter((entry) => entry.ended === null);
  }

  /** Steps whose outcome nobody has confirmed yet, oldest first. */
  undelivered(): JournalEntry[] {
    return [...this.#entries.values()].filter((entry) => entry.ended !== null && !entry.acked);
  }

  /** How far this host is in a run that people approved; undefined: nothing of it was accepted here, or it is long over. */
  approvedRun(run: string): Readonly<ApprovedRun> | undefined {
    return this.#runs.get(run);
  }

  get approvedRuns(): number {
    return this.#runs.size;
  }

  /** The approved run that a step was accepted of last. */
  get latestRun(): string | undefined {
    return [...this.#runs.keys()].at(-1);
  }

  /** The latest time until which one must be remembered; 0: there is none. */
  get newestUntil(): number {
    return [...this.#runs.values()].reduce((newest, { until }) => Math.max(newest, until), 0);
  }

  /** Forgets runs of which no approval counts any more. What is on the disk goes when that is compacted. */
  forgetRuns(now: number): void {
    for (const [run, { until }] of this.#runs) if (until < now) this.#runs.delete(run);
  }

  /** Whoever sends the next step leads, with whatever number: this host's owner says so. */
  forgetLease(at: number): Promise<void> {
    return this.#append({ kind: "fence-forgotten", at });
  }

  accept(accepted: Omit<AcceptedRecord, "kind">): Promise<void> {
    return this.#append({ kind: "accepted", ...accepted });
  }

  phase(step: string, phase: string, data: PhaseData, at: number): Promise<void> {
    return this.#append({ kind: "phase", step, phase, data, at });
  }

  end(step: string, ended: { outcome: Outcome; startedAt: number; endedAt: number }): Promise<void> {
    return this.#append({ kind: "outcome", step, ...ended });
  }

  /** The controller has it. Unknown or repeated: ignored. */
  ack(step: string): void {
    const entry = this.#entries.get(step);
    if (entry === undefined || entry.ended === null || entry.acked) return;
    const record: JournalRecord = { kind: "acked", step };
    this.#apply(record);
    this.#writer.appendLazily(record);
  }

  /** Resolves as long as the disk takes what it is given: see `JournalWriter.settled`. */
  settled(): Promise<void> {
    return this.#writer.settled();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  #append(record: JournalRecord): Promise<void> {
    return this.#writer.append(record, () => this.#apply(record));
  }

  #apply(record: JournalRecord): void {
    switch (record.kind) {
      case "journal":
        this.#madeAt = record.madeAt;
        return;
      case "fence":
        this.#raise(record);
        return;
      case "fence-forgotten":
        this.#fence = 0;
        this.#line = null;
        return;
      case "approved-run":
        this.#runs.delete(record.run);
        // A run that was written down before tries were counted has had none.
        this.#runs.set(record.run, { ...record, tries: record.tries ?? 0 });
        return;
      case "accepted": {
        const { step, op, check, deadlineMs, approved, proof } = record;
        this.#raise(record);
        const entry: JournalEntry = { step, op, check, deadlineMs, phases: [], ended: null, acked: false };
        if (approved !== undefined) entry.approved = approved;
        if (proof !== undefined) entry.proof = proof;
        this.#entries.set(step, entry);
        if (approved !== undefined) this.#begin(approved);
        return;
      }
      case "phase":
        this.#entries.get(record.step)?.phases.push({ phase: record.phase, data: record.data, at: record.at });
        return;
      case "outcome": {
        const entry = this.#entries.get(record.step);
        const { outcome, startedAt, endedAt } = record;
        if (entry === undefined) return;
        entry.ended = { outcome, startedAt, endedAt };
        delete entry.proof;
        if (outcome.status === "done") this.#advance(entry);
        return;
      }
      case "acked": {
        const entry = this.#entries.get(record.step);
        if (entry === undefined || entry.acked) return;
        entry.acked = true;
        entry.phases = [];
        this.#acked += 1;
        return;
      }
    }
  }

  #raise({ fence, line }: { fence: number; line?: string }): void {
    if (fence < this.#fence) return;
    // One that doesn't say takes nothing back of what another has said.
    if (fence > this.#fence || line !== undefined) this.#line = line ?? null;
    this.#fence = fence;
  }

  #begin({ run, root, until }: ApprovedStep): void {
    const known = this.#runs.get(run) ?? { kind: "approved-run", run, root, done: -1, last: "", tries: 0, until };
    this.#runs.delete(run);
    this.#runs.set(run, { ...known, tries: known.tries + 1, until: Math.max(known.until, until) });
  }

  #advance({ step, approved }: JournalEntry): void {
    const run = approved === undefined ? undefined : this.#runs.get(approved.run);
    if (approved === undefined || run === undefined || approved.seq <= run.done) return;
    run.done = approved.seq;
    run.last = step;
    run.tries = 0;
  }

  async #compactIfDue(): Promise<void> {
    if (this.#acked < this.#keepAcked + COMPACT_SLACK) return;
    let surplus = this.#acked - this.#keepAcked;
    for (const entry of this.#entries.values()) {
      if (surplus === 0) break;
      if (!entry.acked) continue;
      this.#entries.delete(entry.step);
      surplus -= 1;
    }
    this.#acked = this.#keepAcked;
    await this.#writer.replaceAll([...this.#snapshot()]);
  }

  *#snapshot(): Generator<JournalRecord> {
    yield { kind: "journal", id: this.id, madeAt: this.#madeAt };
    const fencing = { fence: this.#fence, ...(this.#line === null ? {} : { line: this.#line }) };
    yield { kind: "fence", ...fencing };
    for (const { step, op, check, deadlineMs, phases, ended, acked, approved, proof } of this.#entries.values()) {
      const accepted = { kind: "accepted", step, op, check, deadlineMs, ...fencing, at: 0 } as const;
      const people = { ...(approved === undefined ? {} : { approved }), ...(proof === undefined ? {} : { proof }) };
      yield { ...accepted, ...people };
      for (const phase of phases) yield { kind: "phase", step, ...phase };
      if (ended !== null) yield { kind: "outcome", step, ...ended };
      if (acked) yield { kind: "acked", step };
    }
    // Behind the steps that made them what they are, and in their own order.
    yield* this.#runs.values();
  }
}
