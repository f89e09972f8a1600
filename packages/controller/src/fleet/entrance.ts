import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { MAX_FRAME_BYTES } from "@belay/shared";
import type { Logger } from "pino";
import { type WebSocket, WebSocketServer } from "ws";
import { answerOffer, type Greeted, Greetings, type Registry } from "./greeting.js";
import type { Refusals } from "./refusals.js";

export interface EntranceLimits {
  readonly helloTimeoutMs: number;
  /** Connections that have not said hello yet, at most. */
  readonly maxPending: number;
  /** Of one host: an agent dials one at a time, and may not know yet that its last one is dead. */
  readonly maxPendingPerHost: number;
}

/** Who is there, and how the connection was made. */
export interface Arrival extends Greeted {
  readonly host: string;
  readonly socket: WebSocket;
  readonly from: string;
  /** By a certificate: over TLS. */
  readonly certified: boolean;
}

const CLOSE_PATIENCE_MS = 1_000;

/**
 * The way in: from a request for an upgrade, over who asks and whether there is room for them, to an agent that has said hello
 * and is to be welcomed. Who doesn't get that far is told why.
 */
export class Entrance {
  readonly #hostOf: (request: IncomingMessage) => Promise<string | null>;
  readonly #turnedAway: (address: string) => void;
  readonly #welcome: (arrival: Arrival) => void;
  readonly #refusals: Refusals;
  readonly #limits: EntranceLimits;
  readonly #log: Logger;
  readonly #greetings: Greetings;
  readonly #server = new WebSocketServer({
    noServer: true,
    handleProtocols: answerOffer,
    // Compression costs about 240 KiB a connection, and steps are small.
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
  });

  constructor(parts: {
    registry: Pick<Registry, "journalOf">;
    /** Whose request this is, by its certificate or its token; null: nobody's. */
    hostOf: (request: IncomingMessage) => Promise<string | null>;
    /** Somebody at this address could not say who they are. */
    turnedAway: (address: string) => void;
    /** Takes the connection over. What it throws is a refusal. */
    welcome: (arrival: Arrival) => void;
    refusals: Refusals;
    limits: EntranceLimits;
    log: Logger;
  }) {
    this.#hostOf = parts.hostOf;
    this.#turnedAway = parts.turnedAway;
    this.#welcome = parts.welcome;
    this.#refusals = parts.refusals;
    this.#limits = parts.limits;
    this.#log = parts.log;
    this.#greetings = new Greetings(parts.registry, parts.limits.helloTimeoutMs);
  }

  /** Takes an upgrade request over. `admit` is told whose it is, or that nobody knows, and says whether they may come in now. */
  async enter(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    admit: (host: string | null) => boolean,
  ): Promise<void> {
    const host = await this.#identify(request);
    if (socket.destroyed) return;
    const isAdmitted = admit(host);
    if (host === null) {
      this.#turnedAway(request.socket.remoteAddress ?? "");
      this.#refusals.upgrade(socket, "unauthorized", "401 Unauthorized");
    } else if (!isAdmitted || this.#greetings.pendingOf(host) >= this.#limits.maxPendingPerHost) {
      this.#refusals.upgrade(socket, "too-many-connections", "429 Too Many Requests");
    } else if (this.#greetings.pending >= this.#limits.maxPending) {
      this.#refusals.upgrade(socket, "too-many-pending", "503 Service Unavailable");
    } else {
      this.#server.handleUpgrade(request, socket, head, (websocket) => this.#greet(host, request, websocket));
    }
  }

  /** Ends every connection that came this way, also those that were welcomed. */
  async close(): Promise<void> {
    this.#greetings.close();
    // A peer that doesn't answer the closing handshake must not hold the process.
    const patience = setTimeout(() => {
      for (const socket of this.#server.clients) socket.terminate();
    }, CLOSE_PATIENCE_MS);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    clearTimeout(patience);
  }

  async #identify(request: IncomingMessage): Promise<string | null> {
    try {
      return await this.#hostOf(request);
    } catch (error) {
      this.#log.error({ err: error }, "cannot look up who an agent is");
      return null;
    }
  }

  #greet(host: string, request: IncomingMessage, socket: WebSocket): void {
    const { remoteAddress: from = "" } = request.socket;
    const certified = "encrypted" in request.socket;
    socket.on("error", (error) => this.#log.info({ host, err: error }, "agent connection failed"));
    this.#greetings
      .hear(host, socket, () => this.#identify(request))
      .then((greeted) => {
        if (greeted !== null) this.#welcome({ ...greeted, host, socket, from, certified });
      })
      .catch((error: unknown) => this.#refusals.connection(host, socket, error))
      .finally(() => socket.resume());
  }
}
