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

/** Tells when nothing was heard for too long; see `listen`. */
export interface Listening {
  /** Something was heard. Cheap enough for every piece of a stream. */
  heard(): void;
  /** Nothing can be heard until the next `heard`: whoever listens is busy. */
  busy(): void;
  end(): void;
}

/** Calls `silent` once, when nothing was heard for `ms`. One timer for all of it, not one for each sign of life. */
export function listen(clock: Clock, ms: number, silent: () => void): Listening {
  let heardAt = clock.ticks();
  let disarm = clock.timer(ms, look);
  function look(): void {
    const left = Math.min(ms, heardAt + ms - clock.ticks());
    if (left > 0) disarm = clock.timer(left, look);
    else silent();
  }
  return {
    heard: () => {
      heardAt = clock.ticks();
    },
    busy: () => {
      heardAt = Number.POSITIVE_INFINITY;
    },
    end: () => disarm(),
  };
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
