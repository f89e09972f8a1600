/** So much at once, and then so much a second. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

interface Bucket {
  left: number;
  at: number;
}

/**
 * How fast each of many may go: a bucket each that fills up again by the second. It knows so many at most, and forgets
 * those first who were quiet longest: their buckets are the fullest.
 */
export class Rates {
  readonly #rate: Rate;
  readonly #most: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, most: number) {
    this.#rate = rate;
    this.#most = most;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one, if there is one. 0: there was; else after how many milliseconds there is. */
  take(key: string, now: number): number {
    const bucket = this.#fill(key, now);
    if (bucket.left < 1) return Math.ceil(((1 - bucket.left) / this.#rate.perSecond) * 1000);
    bucket.left -= 1;
    return 0;
  }

  /** Takes one that has come already, on credit if need be. Answers after how many milliseconds the debt is paid. */
  spend(key: string, now: number): number {
    const bucket = this.#fill(key, now);
    bucket.left -= 1;
    return Math.ceil((Math.max(0, -bucket.left) / this.#rate.perSecond) * 1000);
  }

  #fill(key: string, now: number): Bucket {
    const { burst, perSecond } = this.#rate;
    const bucket = this.#buckets.get(key) ?? { left: burst, at: now };
    bucket.left = Math.min(burst, bucket.left + (Math.max(0, now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#most) {
      const [quietest] = this.#buckets.keys();
      if (quietest !== undefined) this.#buckets.delete(quietest);
    }
    return bucket;
  }
}
