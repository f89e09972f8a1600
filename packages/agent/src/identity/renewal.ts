import { errorInfo } from "@belay/shared";
import type { Clock } from "../clock.js";
import { backoffMs } from "../link/backoff.js";
import type { Logger } from "../log.js";
import { makeKey, renew, show } from "./enrol.js";
import type { Holding } from "./holding.js";
import { knownOf, mustBeVouched, saidIn } from "./vouched.js";

export interface RenewalOptions {
  /** Address of belayd's door, https. */
  base: string;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  log: Logger;
  /** How often it looks whether it is time to renew. */
  lookMs?: number;
}

const LOOK_MS = 60_000;
const RETRY = { baseMs: 1_000, capMs: 300_000 };
const RENEW_AFTER = 2 / 3;
const MIN_WAIT_MS = 50;
/** A clock that is kept right goes back by less. */
const CLOCK_SLACK_MS = 60_000;

/** Gets the next certificate, with a new key, long before the one that is held ends, and shows belayd that it came. */
export class Renewal {
  readonly #holding: Holding;
  readonly #options: RenewalOptions;
  readonly #halting = new AbortController();
  /** belayd has seen the newest certificate. */
  #shown = false;
  /** Ended early when there is something new to look at. */
  #nap = new AbortController();
  #keeping: Promise<void> = Promise.resolve();

  constructor(holding: Holding, options: RenewalOptions) {
    this.#holding = holding;
    this.#options = options;
  }

  start(): void {
    this.#keeping = this.#keep();
  }

  async halt(): Promise<void> {
    this.#halting.abort();
    this.#nap.abort();
    await this.#keeping;
  }

  /** Another certificate is held. */
  wake(): void {
    this.#shown = false;
    this.#nap.abort();
  }

  async #keep(): Promise<void> {
    const { clock, random, log, lookMs = LOOK_MS } = this.#options;
    const { signal } = this.#halting;
    for (let attempt = 0; !signal.aborted; ) {
      let waitMs = Math.min(lookMs, Math.max(0, this.#dueIn()));
      try {
        if (this.#dueIn() <= 0) await this.#renew();
        if (this.#holding.held !== null && !this.#shown) await this.#show();
        attempt = 0;
      } catch (thrown) {
        waitMs = RETRY.baseMs + backoffMs(attempt, RETRY, random());
        attempt += 1;
        if (!signal.aborted) log.warn({ error: errorInfo(thrown), waitMs }, "the certificate can't be renewed");
      }
      // Never at once: a life that is over in no time must not keep a processor busy.
      this.#nap = new AbortController();
      if (!signal.aborted) await clock.sleep(Math.max(waitMs, MIN_WAIT_MS), this.#nap.signal).catch(() => {});
    }
  }

  /** Until the certificate should be renewed, by how long ago it came. */
  #dueIn(): number {
    const { held, issuing } = this.#holding;
    if (held === null) return Number.POSITIVE_INFINITY;
    if (issuing !== null && held.issuer !== issuing) return 0;
    const ageMs = this.#options.clock.now() - held.obtainedAt;
    // A clock that went back can't tell any more how old it is. The next one is as old as the clock says.
    return ageMs < -CLOCK_SLACK_MS ? 0 : held.lifeMs * RENEW_AFTER - ageMs;
  }

  async #renew(): Promise<void> {
    const held = this.#holding.mustHold();
    const { fleet, host } = held;
    const { base, log } = this.#options;
    const key = makeKey();
    const issued = await renew({ base, tls: this.#holding.tlsOf(held), fleet, host, key });
    const now = this.#holding.held;
    // A join may have come in between: then this certificate is of a life that is over.
    if (now?.token !== held.token) return;
    mustBeVouched(saidIn(issued), knownOf(now));
    await this.#holding.adopt(held, key, issued);
    log.info({ lifeMs: issued.lifeMs }, "certificate renewed");
  }

  async #show(): Promise<void> {
    const held = this.#holding.mustHold();
    await show({ base: this.#options.base, tls: this.#holding.tlsOf(held) });
    if (this.#holding.held?.certificate === held.certificate) this.#shown = true;
  }
}
