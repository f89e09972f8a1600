import { BelayError } from "@belay/shared";

/** What waits for somebody to come back: so many at most, and so many from one origin, each for so long. */
export class Pending<T> {
  readonly #most: number;
  readonly #mostOfOne: number;
  readonly #now: () => number;
  readonly #waiting = new Map<string, { readonly value: T; readonly origin: string; readonly until: number }>();

  constructor(most: number, mostOfOne: number, now: () => number) {
    this.#most = most;
    this.#mostOfOne = mostOfOne;
    this.#now = now;
  }

  /** Throws `too-many-sign-ins`. */
  put(key: string, value: T, ttlMs: number, origin: string): void {
    this.needRoom(origin);
    this.#waiting.set(key, { value, origin, until: this.#now() + ttlMs });
  }

  /** Throws `too-many-sign-ins`: nobody's own may keep everybody else out. */
  needRoom(origin: string): void {
    let own = 0;
    for (const [key, waiting] of this.#waiting) {
      if (waiting.until <= this.#now()) this.#waiting.delete(key);
      else if (waiting.origin === origin) own += 1;
    }
    if (this.#waiting.size < this.#most && own < this.#mostOfOne) return;
    throw new BelayError("too-many-sign-ins", "too many sign-ins are under way", { hint: "Try again in a while." });
  }

  peek(key: string): T | null {
    const found = this.#waiting.get(key);
    return found === undefined || found.until <= this.#now() ? null : found.value;
  }

  /** Once. */
  take(key: string): T | null {
    const value = this.peek(key);
    this.#waiting.delete(key);
    return value;
  }
}
