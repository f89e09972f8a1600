import { BelayError } from "@belay/shared";

/** What waits for somebody to come back: so many at most, each for so long. */
export class Pending<T> {
  readonly #most: number;
  readonly #now: () => number;
  readonly #waiting = new Map<string, { readonly value: T; readonly until: number }>();

  constructor(most: number, now: () => number) {
    this.#most = most;
    this.#now = now;
  }

  /** Throws `too-many-sign-ins`. */
  put(key: string, value: T, ttlMs: number): void {
    for (const [old, { until }] of this.#waiting) if (until <= this.#now()) this.#waiting.delete(old);
    if (this.#waiting.size >= this.#most) {
      throw new BelayError("too-many-sign-ins", `${this.#most} sign-ins are under way`, {
        hint: "Try again in a while.",
      });
    }
    this.#waiting.set(key, { value, until: this.#now() + ttlMs });
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
