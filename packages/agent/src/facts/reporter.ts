import { type AgentMessage, errorInfo, type FactProbe } from "@belay/shared";
import type { Host } from "../host.js";
import { factsOf } from "./snapshot.js";

/** Tells the controller about this host: at once, now and then, and when something changed. One look at a time. */
export class FactsReporter {
  readonly #host: Host;
  readonly #send: (message: AgentMessage) => void;
  readonly #ending = new AbortController();
  #probe: FactProbe | null = null;
  #everyMs = 0;
  #cancel: () => void = () => {};
  #looking: Promise<void> | null = null;
  #again = false;
  #toldUnwell = false;

  constructor(host: Host, send: (message: AgentMessage) => void) {
    this.#host = host;
    this.#send = send;
  }

  begin(probe: FactProbe | null, everyMs: number): void {
    this.#probe = probe;
    this.#everyMs = everyMs;
    this.report();
  }

  report(): void {
    if (this.#probe === null || this.#ending.signal.aborted) return;
    if (this.#looking !== null) {
      this.#again = true;
      return;
    }
    this.#cancel();
    this.#looking = this.#look(this.#probe);
  }

  /** As `report`; settles when facts looked at from now on have been sent. With nobody to tell them to: at once. */
  async told(): Promise<void> {
    this.report();
    while (this.#looking !== null) await this.#looking;
  }

  /** What was told last, if anything, was that something isn't right here. */
  get toldUnwell(): boolean {
    return this.#toldUnwell;
  }

  async end(): Promise<void> {
    this.#ending.abort();
    this.#cancel();
    await this.#looking;
  }

  async #look(probe: FactProbe): Promise<void> {
    try {
      const facts = await factsOf(probe, this.#host, this.#ending.signal);
      this.#send({ type: "facts", facts });
      this.#toldUnwell = !facts.healthy;
    } catch (error) {
      if (!this.#ending.signal.aborted) this.#host.log.warn({ error: errorInfo(error) }, "facts can't be told");
    }
    this.#looking = null;
    if (this.#ending.signal.aborted) return;
    if (this.#again) {
      this.#again = false;
      this.report();
    } else this.#cancel = this.#host.clock.timer(this.#everyMs, () => this.report());
  }
}
