import { errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { AuditSink, NewEntry } from "./entry.js";

const EVERY_MS = 60_000;
const MAX_ADDRESSES = 32;

/**
 * Attempts to get in that failed, a line a minute: whoever tries a million tokens must not fill the disk, nor push out of
 * sight what others did.
 */
export class RefusalTally {
  readonly #sink: AuditSink;
  readonly #log: Logger;
  readonly #counts = new Map<string, number>();
  /** What had a line of its own in this minute. */
  readonly #told = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(sink: AuditSink, log: Logger) {
    this.#sink = sink;
    this.#log = log;
    // Nothing that a process should stay for.
    this.#timer = setInterval(() => void this.flush(), EVERY_MS).unref();
  }

  count(address: string): void {
    const known = this.#counts.has(address) || this.#counts.size < MAX_ADDRESSES;
    const name = known ? address : "elsewhere";
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** An attempt that deserves a line of its own: one a minute of its kind, by whatever tells kinds apart; then it is counted. */
  report(kind: string, entry: NewEntry): void {
    if (this.#told.has(kind) || this.#told.size >= MAX_ADDRESSES) {
      this.count(entry.from?.address ?? "elsewhere");
      return;
    }
    this.#told.add(kind);
    this.#sink.append(entry).catch((error: unknown) => {
      this.#log.error({ entry, error: errorInfo(error) }, "an attempt to get in is not on record");
    });
  }

  /** Puts what was counted on record. Idempotent. */
  async flush(): Promise<void> {
    this.#told.clear();
    if (this.#counts.size === 0) return;
    const counts = [...this.#counts].sort(([, left], [, right]) => right - left);
    this.#counts.clear();
    const about = {
      attempts: counts.reduce((sum, [, count]) => sum + count, 0),
      addresses: counts.map(([address, count]) => `${address} ${count}`),
    };
    const entry = {
      who: { name: "nobody", how: "nothing" },
      from: null,
      action: "sign-in-failed",
      phase: "refused",
    } as const;
    await this.#sink.append({ ...entry, about }).catch((error: unknown) => {
      this.#log.error({ ...about, error: errorInfo(error) }, "failed attempts to get in are not on record");
    });
  }

  /** Settles when the last of it is on record. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
