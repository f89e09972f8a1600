import { CloseCode } from "@belay/shared";
import type { Logger } from "pino";
import { Flapping } from "./flapping.js";
import type { Session } from "./session.js";

/** The one live session of each host. A session that is not here any more has no say, whatever is still under way on it. */
export class LiveSessions {
  readonly #byHost = new Map<string, Session>();
  readonly #flapping = new Flapping();
  readonly #cloned: (host: string, from: readonly string[]) => void;
  readonly #log: Logger;

  /** `cloned`: connections of one identity throw each other out again and again, from these addresses. */
  constructor(cloned: (host: string, from: readonly string[]) => void, log: Logger) {
    this.#cloned = cloned;
    this.#log = log;
  }

  of(host: string): Session | undefined {
    return this.#byHost.get(host);
  }

  has(session: Session): boolean {
    return this.#byHost.get(session.host) === session;
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byHost.values();
  }

  /**
   * A second live connection of one identity replaces the first: the agent was restarted, or its network went away. When
   * that goes on and on, there are two of it.
   */
  put(session: Session, now: number): void {
    const { host, from } = session;
    const old = this.#byHost.get(host);
    if (old !== undefined) {
      this.#log.warn({ host, from, before: old.from }, "a newer connection of this agent replaces an older one");
      this.#byHost.delete(host);
      old.close(CloseCode.replaced, "replaced by a newer connection");
      const places = this.#flapping.replaced(host, [old.from, from], now);
      if (places !== null) this.#cloned(host, places);
    }
    this.#byHost.set(host, session);
  }

  /** False: it was not here any more. */
  drop(session: Session): boolean {
    return this.has(session) && this.#byHost.delete(session.host);
  }

  /** Pings them all, and ends those that have said nothing since `deadline`. */
  ping(deadline: number): void {
    for (const session of this) {
      if (session.heardAt < deadline) session.terminate();
      else session.ping();
    }
  }
}
