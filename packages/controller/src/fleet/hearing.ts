import { type AgentMessage, BelayError, type Progress, type StepOutcome, type Witnessed } from "@belay/shared";
import type { RawData, WebSocket } from "ws";
import { type Rate, Rates } from "../rates.js";
import { read } from "./greeting.js";
import type { Presence } from "./presence.js";
import type { Session } from "./session.js";

/** Where what agents say of their steps goes. Calls come in the order of one connection's frames and must not throw. */
export interface StepEvents {
  outcome(host: string, message: StepOutcome): void;
  progress(host: string, message: Progress): void;
}

/** More than a fleet has agents. */
const MOST_PACED = 100_000;

/** Takes in what welcomed agents say, no faster than they may, and hands each word to whom it concerns. */
export class Hearing {
  readonly #events: StepEvents;
  readonly #presence: Pick<Presence, "reported">;
  readonly #witnessed: (host: string, message: Witnessed) => void;
  readonly #hostTrusts: (host: string, pins: readonly string[]) => void;
  readonly #now: () => number;
  readonly #rates: Rates;

  constructor(parts: {
    events: StepEvents;
    presence: Pick<Presence, "reported">;
    witnessed: (host: string, message: Witnessed) => void;
    hostTrusts: (host: string, pins: readonly string[]) => void;
    /** Messages of one agent. */
    rate: Rate;
    now: () => number;
  }) {
    this.#events = parts.events;
    this.#presence = parts.presence;
    this.#witnessed = parts.witnessed;
    this.#hostTrusts = parts.hostTrusts;
    this.#now = parts.now;
    this.#rates = new Rates(parts.rate, MOST_PACED);
  }

  /** Takes one frame. Throws why this agent must be refused. */
  hear(session: Session, socket: WebSocket, data: RawData, isBinary: boolean): void {
    session.heardAt = this.#now();
    this.#pace(session, socket);
    this.#take(session, read(data, isBinary, session.protocol));
  }

  /** Reads on only when the debt of what has come is paid: an agent that says too much is slowed down, and nobody else is. */
  #pace(session: Session, socket: WebSocket): void {
    const waitMs = this.#rates.spend(session.host, this.#now());
    if (waitMs === 0 || socket.isPaused) return;
    socket.pause();
    // That nothing is heard of it meanwhile is our doing.
    session.heardAt = this.#now() + waitMs;
    setTimeout(() => socket.resume(), waitMs).unref();
  }

  #take({ host, certified }: Session, message: AgentMessage): void {
    switch (message.type) {
      case "hello":
        throw new BelayError("hello-again", "a second hello on one connection");
      case "facts":
        if (message.facts.host !== host)
          throw new BelayError("host-mismatch", `facts of ${message.facts.host} from ${host}`);
        this.#presence.reported(host, message.facts, this.#now());
        return;
      case "accepted":
        return;
      case "progress":
        this.#events.progress(host, message);
        return;
      case "outcome":
        this.#events.outcome(host, message);
        return;
      case "witnessed":
        this.#witnessed(host, message);
        return;
      case "trusts":
        if (certified) this.#hostTrusts(host, message.authorities);
        return;
    }
  }
}
