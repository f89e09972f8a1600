import { createPublicKey, type KeyObject } from "node:crypto";
import { BelayError, errorInfo, type SignedCheckpoint, verifierOf, writeVerifier } from "@belay/shared";
import type { Logger } from "pino";
import { type AuditEntry, type AuditSink, BELAYD_ITSELF, type NewEntry, readEntry, writeEntry } from "./entry.js";
import type { Pending } from "./pending.js";
import { type Published, Publisher } from "./publisher.js";
import { type Recovered, recoverLog } from "./recover.js";
import type { StoredTiles } from "./stored-tiles.js";
import { TILE_WIDTH } from "./tiles.js";

interface Job {
  readonly entry: NewEntry;
  readonly at: number;
  readonly resolve: (seq: number) => void;
  readonly reject: (error: unknown) => void;
}

/** What is handed to a log from outside. */
interface Surroundings {
  readonly now: () => number;
  readonly log: Logger;
  readonly checkpointEveryMs: number;
}

/**
 * The audit log: append-only, a Merkle tree over its entries (RFC 6962), signed checkpoints. An entry is on disk when `append`
 * settles (I7, I14). Entries that come while a write is under way share the next one's fsync. Every so often what came is laid
 * out in tiles and put under a new checkpoint, always in this order: entries, tiles, checkpoint, each durable before the next,
 * so that no checkpoint anybody has seen is ever contradicted by a later one.
 */
export class AuditLog implements AuditSink {
  readonly origin: string;
  /** What signs its checkpoints, the open half. */
  readonly key: KeyObject;
  readonly #pending: Pending;
  readonly #tiles: StoredTiles;
  readonly #publisher: Publisher;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #everyMs: number;
  readonly #watchers = new Set<(newest: SignedCheckpoint, before: SignedCheckpoint | null) => void>();
  #published: Published;
  /** On disk, and under no checkpoint yet. */
  #fresh: Buffer[];
  #lastAt: number;
  #queue: Job[] = [];
  #working: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** Whoever waits for a checkpoint of what is on disk now. */
  #publishers: (() => void)[] = [];
  #closed = false;

  private constructor(found: Recovered, { now, log, checkpointEveryMs }: Surroundings) {
    this.origin = found.origin;
    this.key = createPublicKey(found.keys.key);
    this.#pending = found.pending;
    this.#tiles = found.tiles;
    this.#publisher = new Publisher(found.folder, found.origin, found.keys);
    this.#published = found.published;
    this.#fresh = found.fresh;
    this.#lastAt = found.lastAt;
    this.#now = now;
    this.#log = log;
    this.#everyMs = checkpointEveryMs;
  }

  /**
   * Opens the log in `dir`, beginning one where there is none, and puts what an earlier life left pending under a checkpoint.
   * Throws as `recoverLog`.
   */
  static async open(options: { dir: string; keyFile: string } & Surroundings): Promise<AuditLog> {
    const found = await recoverLog(options.dir, options.keyFile);
    try {
      const opened = new AuditLog(found, options);
      if (opened.size === 0) await opened.append(begun(opened));
      await opened.publish();
      return opened;
    } catch (error) {
      await found.pending.close();
      throw error;
    }
  }

  /** Entries on disk. */
  get size(): number {
    return this.#published.edge.size + this.#fresh.length;
  }

  get newest(): SignedCheckpoint {
    const { newest } = this.#published;
    if (newest === null) throw new BelayError("internal", "the audit log has no checkpoint yet");
    return newest;
  }

  /** Told of every new checkpoint, once it is on disk. Must not throw. */
  watch(watcher: (newest: SignedCheckpoint, before: SignedCheckpoint | null) => void): void {
    this.#watchers.add(watcher);
  }

  async append(entry: NewEntry): Promise<void> {
    await this.record(entry);
  }

  /** As `append`; answers with the entry's place. */
  record(entry: NewEntry): Promise<number> {
    if (this.#closed) return Promise.reject(new BelayError("shutting-down", "belayd is stopping"));
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, at: this.#now(), resolve, reject });
      this.#work();
    });
  }

  /** Puts everything that is on disk under a checkpoint now. Settles when that is done, or has failed and is logged. */
  publish(): Promise<void> {
    return new Promise((resolve) => {
      this.#publishers.push(resolve);
      this.#work();
    });
  }

  /** Puts what is on disk under a last checkpoint. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.publish();
    await this.#pending.close();
  }

  /** What shows that the newest checkpoint continues the log as it was at this size. Throws `audit-behind`. */
  async proofFrom(size: number): Promise<{ readonly newest: SignedCheckpoint; readonly proof: Buffer[] }> {
    // Taken in one go, the edge and the checkpoint are of each other, whatever is published meanwhile.
    const [{ edge }, newest] = [this.#published, this.newest];
    if (size > edge.size) {
      throw new BelayError("audit-behind", `the log has ${edge.size} entries, not ${size}`);
    }
    return { newest, proof: await this.#tiles.proof(size, edge) };
  }

  /** A file of the layout: tiles, checkpoint, key. Also an unfinished tile that has grown since. Null: there is none. */
  async file(path: string): Promise<Buffer | null> {
    if (path === "checkpoint") return Buffer.from(this.newest.note);
    if (path === "key") return Buffer.from(`${writeVerifier(verifierOf(this.origin, this.key))}\n`);
    return this.#tiles.file(path, () => this.#published.edge);
  }

  /** Entries from the newest on disk backwards; `before`: only those before this place. */
  async *backwards(before = Number.POSITIVE_INFINITY): AsyncGenerator<AuditEntry> {
    const from = Math.min(before, this.size) - 1;
    for (let index = Math.floor(from / TILE_WIDTH); index >= 0; index -= 1) {
      const entries = await this.#bundle(index);
      for (let place = Math.min(entries.length - 1, from - index * TILE_WIDTH); place >= 0; place -= 1) {
        yield readEntry(entries[place] as Buffer);
      }
    }
  }

  /** The entry at a place; null: the log has none there. */
  async entry(seq: number): Promise<AuditEntry | null> {
    const bytes = (await this.#bundle(Math.floor(seq / TILE_WIDTH)))[seq % TILE_WIDTH];
    return bytes === undefined ? null : readEntry(bytes);
  }

  /** Up to 256 entries: from a full bundle on disk, or else from memory, which holds all that is in none. */
  async #bundle(index: number): Promise<readonly Buffer[]> {
    const { edge } = this.#published;
    const first = Math.floor(edge.size / TILE_WIDTH);
    if (index < first) return this.#tiles.entries(index);
    return [...edge.bundle, ...this.#fresh].slice((index - first) * TILE_WIDTH, (index - first + 1) * TILE_WIDTH);
  }

  #work(): void {
    this.#working ??= this.#drain().finally(() => {
      this.#working = null;
      if (this.#queue.length > 0 || this.#publishers.length > 0) this.#work();
    });
  }

  async #drain(): Promise<void> {
    // Everything of this turn joins the first group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 || this.#publishers.length > 0) {
      if (this.#queue.length > 0) await this.#writeGroup(this.#queue.splice(0));
      const publishers = this.#publishers.splice(0);
      if (publishers.length === 0) continue;
      await this.#publish().catch((error: unknown) => {
        this.#log.error({ error: errorInfo(error) }, "no checkpoint of the audit log now; trying again");
        this.#publishSoon();
      });
      for (const publisher of publishers) publisher();
    }
  }

  async #writeGroup(jobs: readonly Job[]): Promise<void> {
    const written: { job: Job; bytes: Buffer; seq: number }[] = [];
    let at = this.#lastAt;
    for (const job of jobs) {
      at = Math.max(at, job.at);
      const seq = this.size + written.length;
      try {
        written.push({ job, bytes: writeEntry({ seq, at, ...job.entry }), seq });
      } catch (error) {
        job.reject(error);
      }
    }
    try {
      if (written.length > 0) await this.#pending.append(written.map(({ bytes }) => bytes));
    } catch (error) {
      for (const { job } of written) job.reject(error);
      return;
    }
    this.#lastAt = at;
    this.#fresh.push(...written.map(({ bytes }) => bytes));
    for (const { job, seq } of written) job.resolve(seq);
    this.#publishSoon();
  }

  #publishSoon(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.publish();
    }, this.#everyMs);
  }

  async #publish(): Promise<void> {
    const before = this.#published;
    const next = await this.#publisher.publish(before, this.#fresh);
    if (next === null) return;
    // In one go: whoever reads in between would miss these entries, or meet them twice.
    this.#fresh = [];
    this.#published = next;
    for (const watcher of this.#watchers) watcher(next.newest, before.newest);
    await this.#pending.clear();
    await this.#publisher.tidy(next).catch((error: unknown) => {
      this.#log.warn(
        { error: errorInfo(error) },
        "files that the new checkpoint outdates stay in the audit log's folder",
      );
    });
  }
}

function begun({ origin, key }: AuditLog): NewEntry {
  return {
    who: BELAYD_ITSELF,
    from: null,
    action: "log-begun",
    phase: "done",
    about: { log: origin, key: writeVerifier(verifierOf(origin, key)) },
  };
}
