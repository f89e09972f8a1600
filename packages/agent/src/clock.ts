import { setTimeout as wait } from "node:timers/promises";

/** Time as an argument. Only main.ts and daemon.ts hand in the real one; tests drive their own. */
export interface Clock {
  /** Milliseconds since the epoch, for people and records. May jump. */
  now(): number;
  /** Milliseconds since some fixed moment, for durations and timeouts. Never goes back. */
  ticks(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fire` once after `ms`, unless the returned function is called first. */
  timer(ms: number, fire: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  ticks: () => performance.now(),
  async sleep(ms, signal) {
    signal?.throwIfAborted();
    try {
      await wait(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // The platform wraps the reason in an AbortError; callers match on the reason itself.
      signal?.throwIfAborted();
      throw error;
    }
  },
  timer(ms, fire) {
    const handle = setTimeout(fire, ms);
    return () => clearTimeout(handle);
  },
};
