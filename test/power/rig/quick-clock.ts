import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "@belay/agent";

/**
 * Time that passes only where somebody sleeps: settle times cost nothing, and no deadline strikes. Its wall clock starts at
 * `startAt` and never says the same twice.
 */
export function quickClock(startAt: number): Clock {
  let ticks = 0;
  let asked = 0;
  return {
    now() {
      asked += 1;
      return startAt + ticks + asked;
    },
    ticks: () => ticks,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      await turn();
      ticks += ms;
      signal?.throwIfAborted();
    },
    timer(ms, fire) {
      if (ms > 0) return () => {};
      const soon = setImmediate(fire);
      return () => clearImmediate(soon);
    },
  };
}
