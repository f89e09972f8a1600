import type { StepId } from "@belay/shared";

/** Long enough for a busy disk or a dropped connection to come back, short enough not to be noticed in a batch. */
const FIRST_BACKOFF_MS = 500;
/** A minute keeps a thousand retrying hosts below twenty steps a second. */
const MAX_BACKOFF_MS = 60_000;

/**
 * How long to wait after the `tries`-th failed try (1-based), milliseconds: it doubles up to a cap, and half of it is
 * jitter, so that hosts that failed together don't come back together. The jitter comes from the step's own name:
 * replaying a run gives the very same times (I14).
 */
export function backoffMs(step: StepId, tries: number): number {
  const whole = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(tries - 1, 20));
  return Math.round(whole / 2 + (whole / 2) * fractionOf(step));
}

/** A fraction in [0, 1) that depends on nothing but the text (FNV-1a, with a last mix because short texts differ late). */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
