import { BelayError } from "@belay/shared";
import type { Clock } from "../clock.js";

/** What a supervisor says while it executes itself anew, or its disk stalls: nothing about the service. */
const PASSING: ReadonlySet<string> = new Set(["command-timeout", "systemctl-failed"]);
/** In which such a thing has passed. */
export const PATIENCE_MS = 30_000;
const FIRST_WAIT_MS = 500;

/** True for an error of a service's supervisor that may be gone in a moment. */
export function mayPass(error: unknown): error is BelayError {
  return error instanceof BelayError && PASSING.has(error.code);
}

/**
 * Does what is asked of a service, and must be idempotent, again and again for about `PATIENCE_MS`, as long as its supervisor can't be
 * talked to. Throws what it threw last, or the signal's reason.
 */
export async function patiently<T>(work: () => Promise<T>, clock: Clock, signal: AbortSignal): Promise<T> {
  let until = Number.POSITIVE_INFINITY;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs *= 2) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const now = clock.ticks();
      if (!mayPass(error) || now >= until) throw error;
      until = Math.min(until, now + PATIENCE_MS);
      await clock.sleep(Math.min(waitMs, until - now), signal);
    }
  }
}
