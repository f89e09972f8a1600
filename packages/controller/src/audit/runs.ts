import { createHash } from "node:crypto";
import { BelayError, canonicalJson } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import type { RunEvent } from "../run/event.js";
import { type BackupChange, RunStore } from "../store/runs.js";
import type { Store } from "../store/sqlite.js";
import type { NewEntry } from "./entry.js";
import type { AuditLog } from "./log.js";
import { entryOf, markOf, type RunMark } from "./run-entry.js";

const EVENTS_PER_PAGE = 1_000;
/** Entries are stamped when they are written, a little after the event; and clocks are set back now and then. */
const CLOCK_SLACK_MS = 3_600_000;

interface Followed {
  mark: RunMark;
  /** On record in the run, and not yet in the audit log. */
  owed: NewEntry[];
  paying: Promise<void> | null;
}

/**
 * The store of runs, as the audit log sees it: what a run starts, decides and ends gets into the audit log when it is on the
 * run's own record, and before anybody acts on it or is told. Each line carries the digest of the run's log so far, so that
 * the record can't be rewritten later without showing.
 */
export class AuditedRuns extends RunStore {
  readonly #audit: Pick<AuditLog, "append" | "backwards">;
  readonly #followed = new Map<string, Followed>();

  constructor(store: Store, audit: Pick<AuditLog, "append" | "backwards">) {
    super(store);
    this.#audit = audit;
  }

  override async create(run: string, plan: Plan, first: RunEvent & { type: "run-started" }): Promise<void> {
    await super.create(run, plan, first);
    this.#follow(run, { mark: NOTHING, owed: [], paying: null }, [first]);
    await this.#pay(run);
  }

  override async append(
    run: string,
    lastSeq: number,
    events: readonly RunEvent[],
    backups: readonly BackupChange[],
  ): Promise<void> {
    const followed = this.#followed.get(run) ?? (await this.vouch(run));
    await this.#pay(run);
    if (followed.mark.events !== lastSeq) {
      throw new BelayError("internal", `the audit log knows ${followed.mark.events} events of ${run}, not ${lastSeq}`);
    }
    try {
      await super.append(run, lastSeq, events, backups);
    } catch (error) {
      // Whether the disk has them after all, only reading back tells.
      this.#followed.delete(run);
      throw error;
    }
    this.#follow(run, followed, events);
    await this.#pay(run);
    if (events.at(-1)?.type === "run-ended") this.#followed.delete(run);
  }

  /** Whoever reads a run back after a failure goes on from it: not before all of it is in the audit log. */
  override async read(run: string, after: number, limit: number): ReturnType<RunStore["read"]> {
    await this.#pay(run);
    return super.read(run, after, limit);
  }

  /**
   * Holds a run's log against what the audit log says of it, and adds what a crash kept from it. Throws `run-log-changed`
   * where the two don't agree: that run must not be gone on with.
   */
  async vouch(run: string): Promise<Followed> {
    const { startedAt } = await this.get(run);
    const sealed = await this.#newestSeal(run, startedAt - CLOCK_SLACK_MS);
    const followed: Followed = { mark: NOTHING, owed: [], paying: null };
    for (let more = true; more; ) {
      const page = await super.read(run, followed.mark.events, EVENTS_PER_PAGE);
      for (const { event } of page) {
        followed.mark = next(followed.mark, event);
        const { events, digest } = followed.mark;
        if (events === sealed?.events && digest !== sealed.digest)
          throw changed(run, `event ${events}, or one before it`);
        const entry = events <= (sealed?.events ?? 0) ? null : entryOf(run, event, followed.mark);
        if (entry !== null) followed.owed.push(entry);
      }
      more = page.length === EVENTS_PER_PAGE;
    }
    if (followed.mark.events < (sealed?.events ?? 0)) {
      throw changed(run, `it ends after ${followed.mark.events} events, and had ${sealed?.events}`);
    }
    this.#followed.set(run, followed);
    await this.#pay(run);
    return followed;
  }

  async #newestSeal(run: string, since: number): Promise<RunMark | null> {
    for await (const entry of this.#audit.backwards()) {
      const mark = markOf(entry, run);
      if (mark !== null) return mark;
      if (entry.at < since) return null;
    }
    return null;
  }

  #follow(run: string, followed: Followed, events: readonly RunEvent[]): void {
    this.#followed.set(run, followed);
    for (const event of events) {
      followed.mark = next(followed.mark, event);
      const entry = entryOf(run, event, followed.mark);
      if (entry !== null) followed.owed.push(entry);
    }
  }

  /** Settles when nothing of this run is owed to the audit log. */
  async #pay(run: string): Promise<void> {
    const followed = this.#followed.get(run);
    while (followed !== undefined && (followed.paying !== null || followed.owed.length > 0)) {
      followed.paying ??= this.#payAll(followed).finally(() => {
        followed.paying = null;
      });
      await followed.paying;
    }
  }

  async #payAll({ owed }: Followed): Promise<void> {
    const entries = owed.splice(0);
    const paid = await Promise.allSettled(entries.map((entry) => this.#audit.append(entry)));
    const failed = paid.find((one) => one.status === "rejected");
    if (failed === undefined) return;
    // They go on record together or are asked for again: twice is no harm, never would be.
    owed.unshift(...entries);
    throw failed.reason;
  }
}

const NOTHING: RunMark = { events: 0, digest: "" };

function next({ events, digest }: RunMark, event: RunEvent): RunMark {
  const hash = createHash("sha256").update(digest).update(canonicalJson(event));
  return { events: events + 1, digest: hash.digest("hex") };
}

function changed(run: string, what: string): BelayError {
  return new BelayError("run-log-changed", `the record of run ${run} is not what the audit log sealed: ${what}`, {
    hint: "An older database, or one that somebody wrote to. It is not gone on with; docs/audit.md says what to do.",
    context: { run },
  });
}
