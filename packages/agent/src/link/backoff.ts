/** How long to wait between dials, milliseconds. */
export interface BackoffLimits {
  baseMs: number;
  capMs: number;
}

/**
 * Exponential with full jitter: anything from 0 to the doubled limit, so that ten thousand agents that lost the same
 * controller don't come back in one wave. `attempt` counts from 0; `random` is in [0, 1).
 */
export function backoffMs(attempt: number, limits: BackoffLimits, random: number): number {
  const limit = Math.min(limits.capMs, limits.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(random * limit);
}
