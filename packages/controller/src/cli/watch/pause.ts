import { BelayError } from "@belay/shared";
import type { Outside } from "../outside.js";

const FIRST_MS = 250;
const LONGEST_MS = 5_000;
/** What a line that broke, or a belayd on its way down or up, answers. */
const PASSING = new Set(["belayd-unreachable", "belayd-slow", "shutting-down"]);

/** True for failures that coming again helps against. */
export function isPassing(error: unknown): error is BelayError {
  return error instanceof BelayError && PASSING.has(error.code);
}

/** The pauses between tries: each twice as long as the one before, up to a limit, until something comes through. */
export class Pause {
  readonly #sleep: Outside["sleep"];
  #next = FIRST_MS;

  constructor(sleep: Outside["sleep"]) {
    this.#sleep = sleep;
  }

  async take(signal: AbortSignal): Promise<void> {
    await this.#sleep(this.#next, signal);
    this.#next = Math.min(this.#next * 2, LONGEST_MS);
  }

  reset(): void {
    this.#next = FIRST_MS;
  }
}
