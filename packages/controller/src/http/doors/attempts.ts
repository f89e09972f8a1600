/** Nobody mistypes a token so often. */
const FREE_FAILURES = 10;
const FIRST_LOCK_MS = 1_000;
const LONGEST_LOCK_MS = 15 * 60_000;
const FORGOTTEN_AFTER_MS = 60 * 60_000;
const MOST_ORIGINS = 10_000;
const MOST_KNOWN = 10_000;

interface Origin {
  failures: number;
  lastAt: number;
  lockedUntil: number;
}

/**
 * Failed sign-ins by where they come from. After a few, each further one locks that origin out for twice as long as the
 * one before. A token that was good lately is still looked at: whoever shares an address with a guesser (a NAT, or
 * loopback) goes on working. Tokens are random and have no name to guess them by, so there is nothing to count by user,
 * and nobody can be locked out by somebody else who knows their name.
 */
export class Attempts {
  readonly #origins = new Map<string, Origin>();
  /** Digests. */
  readonly #known = new Set<string>();

  /** For how many milliseconds this origin is locked out; 0: it isn't, or what it shows was good lately. */
  lockedFor(origin: string, tokenHash: string | null, now: number): number {
    if (tokenHash !== null && this.#known.has(tokenHash)) return 0;
    return Math.max(0, (this.#origins.get(origin)?.lockedUntil ?? 0) - now);
  }

  /** True when this failure locks its origin out for the first time: worth a line in the log. */
  failed(origin: string, tokenHash: string | null, now: number): boolean {
    if (tokenHash !== null) this.#known.delete(tokenHash);
    const before = this.#origins.get(origin);
    const entry =
      before === undefined || now - before.lastAt > FORGOTTEN_AFTER_MS
        ? { failures: 0, lastAt: now, lockedUntil: 0 }
        : before;
    entry.failures += 1;
    entry.lastAt = now;
    const beyond = entry.failures - FREE_FAILURES;
    if (beyond > 0) entry.lockedUntil = now + Math.min(LONGEST_LOCK_MS, FIRST_LOCK_MS * 2 ** Math.min(30, beyond - 1));
    keepNewest(this.#origins, origin, entry, MOST_ORIGINS);
    return beyond === 1;
  }

  succeeded(tokenHash: string): void {
    this.#known.delete(tokenHash);
    this.#known.add(tokenHash);
    const [oldest] = this.#known;
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }

  get size(): number {
    return this.#origins.size;
  }
}

function keepNewest<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
