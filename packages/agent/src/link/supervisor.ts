import type { AgentMessage, Hello } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { Logger } from "../log.js";
import { type BackoffLimits, backoffMs } from "./backoff.js";
import { Connection, type ConnectionEnd, type Served } from "./connection.js";
import type { Dial } from "./socket.js";

export interface RedialPolicy extends BackoffLimits {
  /** A connection that served this long was a good one: the next dial comes soon again. */
  stableMs: number;
  /** After "redialling won't help": a person must do something, so there is no hurry, but nobody should have to restart us. */
  refusedMs: number;
}

export const DEFAULT_REDIAL: RedialPolicy = { baseMs: 250, capMs: 15_000, stableMs: 10_000, refusedMs: 120_000 };

export interface LinkOptions {
  dial: Dial;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  log: Logger;
  policy: RedialPolicy;
  hello: (protocol: number) => Hello;
  served: Served;
  /** Before each dial; what it gives takes the dial's place. */
  prepare?: () => Promise<ConnectionEnd | null>;
}

/** Keeps one connection to the controller up, for as long as the agent runs. The only place that decides to redial. */
export class Link {
  readonly #options: LinkOptions;
  readonly #halting = new AbortController();
  #connection: Connection | null = null;
  #lastTrouble: string | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Sends on the present connection, or drops. */
  send(message: AgentMessage): void {
    this.#connection?.send(message);
  }

  /** How long this connection has served; null: none does. */
  get servedMs(): number | null {
    return this.#connection?.servedMs ?? null;
  }

  /** Why the last connection ended; null: none has. */
  get lastTrouble(): string | null {
    return this.#lastTrouble;
  }

  async halt(): Promise<void> {
    this.#halting.abort();
    this.#connection?.halt();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#halting;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const end = await this.#connect();
      if (signal.aborted) return;
      if (end.kind === "lost" && end.servedMs >= this.#options.policy.stableMs) attempt = 0;
      const waitMs = this.#waitAfter(end, attempt);
      this.#report(end, waitMs);
      await clock.sleep(waitMs, signal).catch(() => {});
    }
  }

  async #connect(): Promise<ConnectionEnd> {
    const { dial, clock, hello, served, prepare } = this.#options;
    const unprepared = await prepare?.();
    if (unprepared != null) return unprepared;
    if (this.#halting.signal.aborted) return { kind: "halted" };
    this.#connection = new Connection({ dial, clock, hello, served });
    const end = await this.#connection.ended;
    this.#connection = null;
    return end;
  }

  #waitAfter(end: ConnectionEnd, attempt: number): number {
    const { policy, random } = this.#options;
    // Half of it for sure, the other half at random: never at once, never all together.
    if (end.kind === "refused" && !end.retry) return Math.round(policy.refusedMs * (0.5 + random() / 2));
    return backoffMs(attempt, policy, random());
  }

  #report(end: ConnectionEnd, waitMs: number): void {
    const { log } = this.#options;
    this.#lastTrouble = troubleOf(end);
    switch (end.kind) {
      case "unreachable":
        log.warn({ error: end.error.toJSON(), waitMs }, "controller unreachable");
        return;
      case "refused":
        log.error({ error: end.error, retry: end.retry, waitMs }, "controller refuses this agent");
        return;
      case "lost":
        log.warn({ why: end.why, servedMs: end.servedMs, waitMs }, "connection lost");
        return;
      case "halted":
    }
  }
}

function troubleOf(end: ConnectionEnd): string {
  switch (end.kind) {
    case "unreachable":
      return end.error.message;
    case "refused":
      return `${end.error.code}: ${end.error.message}`;
    case "lost":
      return end.why;
    case "halted":
      return "halted";
  }
}
