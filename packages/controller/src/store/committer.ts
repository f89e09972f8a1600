import type { Kysely, Transaction } from "kysely";
import type { Schema } from "./schema.js";

type Work<T> = (tx: Transaction<Schema>) => Promise<T>;

interface Job {
  readonly work: Work<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Group commit: writes that arrive while a transaction is under way share the next one, and so share its fsync. A write's
 * promise settles only when its transaction is on disk (I7). Writes are carried out in the order they were asked for.
 */
export class Committer {
  readonly #db: Kysely<Schema>;
  #queue: Job[] = [];
  #running: Promise<void> | null = null;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  /** Carries `work` out in a transaction, perhaps together with others'. It must be safe to run a second time from scratch. */
  write<T>(work: Work<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, resolve: resolve as (value: unknown) => void, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Settles when everything asked for so far is on disk or refused. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #drain(): Promise<void> {
    // One turn of the event loop lets everything that is ready now join the first transaction.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const jobs = this.#queue;
      this.#queue = [];
      if (!(await this.#commit(jobs)) && jobs.length > 1) {
        // Somebody's work failed and took the whole transaction back: alone, each gets its own answer.
        for (const job of jobs) await this.#commit([job]);
      }
    }
    // In the same turn as the last look at the queue: whoever comes after starts a new drain.
    this.#running = null;
  }

  /** True if settled; false if a group failed and its jobs are still to be carried out one by one. */
  async #commit(jobs: readonly Job[]): Promise<boolean> {
    try {
      const results = await this.#db.transaction().execute(async (tx) => {
        const values: unknown[] = [];
        for (const job of jobs) values.push(await job.work(tx));
        return values;
      });
      for (const [index, job] of jobs.entries()) job.resolve(results[index]);
      return true;
    } catch (error) {
      if (jobs.length > 1) return false;
      for (const job of jobs) job.reject(error);
      return true;
    }
  }
}
