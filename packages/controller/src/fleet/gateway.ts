import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import {
  type AgentMessage,
  BelayError,
  CloseCode,
  type ControllerMessage,
  type ErrorInfo,
  encode,
  errorInfo,
  type FactProbe,
  type Hello,
  MAX_FRAME_BYTES,
  PROTOCOL,
  type Progress,
  type StepOutcome,
  type Witnessed,
} from "@belay/shared";
import type { Logger } from "pino";
import { type WebSocket, WebSocketServer } from "ws";
import { answerOffer, type Greeted, Greetings, type Registry, read } from "./greeting.js";
import type { Presence } from "./presence.js";
import { Session } from "./session.js";

/** Where what agents say goes. Calls come in the order of one connection's frames and must not throw. */
export interface AgentEvents {
  /**
   * Welcomed. `forgot`: its journal is a new one, so what it had been sent before is lost to it. Settles when every run
   * has that on record: only then is the new journal taken for the host's own (I7).
   */
  connected(host: string, hello: Hello, forgot: boolean): Promise<void>;
  disconnected(host: string): void;
  outcome(host: string, message: StepOutcome): void;
  progress(host: string, message: Progress): void;
}

/** Hosts as witnesses of the audit log. Must not throw. */
export interface WitnessDesk {
  /** Welcomed, and able to take checkpoints. */
  met(host: string, hello: Hello): void;
  said(host: string, message: Witnessed): void;
}

export interface GatewayOptions {
  readonly pingEveryMs: number;
  readonly factsEveryMs: number;
  readonly helloTimeoutMs: number;
  /** Connections that have not said hello yet, at most. */
  readonly maxPending: number;
}

export const GATEWAY_DEFAULTS: GatewayOptions = {
  pingEveryMs: 10_000,
  factsEveryMs: 60_000,
  helloTimeoutMs: 10_000,
  maxPending: 1_000,
};

/** The version of the protocol that has words for checkpoints. */
const WITNESSES_SINCE = 2;
const CLOSE_PATIENCE_MS = 1_000;

/**
 * Where agents dial in. Each connection: token checked at the upgrade, hello within a time, then served until either side
 * ends it. Anything malformed closes that connection with a code and hurts nobody else.
 */
export class Gateway {
  readonly #registry: Registry;
  readonly #presence: Presence;
  readonly #events: AgentEvents;
  readonly #probeOf: (host: string) => FactProbe | null;
  readonly #witnesses: WitnessDesk | null;
  readonly #turnedAway: (address: string) => void;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #options: GatewayOptions;
  readonly #server: WebSocketServer;
  readonly #sessions = new Map<string, Session>();
  readonly #greetings: Greetings;
  readonly #sweep: NodeJS.Timeout;
  /** Connections closed for what they said, by error code: for metrics and tests. */
  readonly refused = new Map<string, number>();

  constructor(parts: {
    registry: Registry;
    presence: Presence;
    events: AgentEvents;
    probeOf: (host: string) => FactProbe | null;
    /** Absent: nobody is told of an audit log. */
    witnesses?: WitnessDesk;
    /** Somebody at this address could not say who they are. */
    turnedAway?: (address: string) => void;
    now: () => number;
    log: Logger;
    options?: Partial<GatewayOptions>;
  }) {
    this.#registry = parts.registry;
    this.#presence = parts.presence;
    this.#events = parts.events;
    this.#probeOf = parts.probeOf;
    this.#witnesses = parts.witnesses ?? null;
    this.#turnedAway = parts.turnedAway ?? (() => {});
    this.#now = parts.now;
    this.#log = parts.log;
    this.#options = { ...GATEWAY_DEFAULTS, ...parts.options };
    this.#greetings = new Greetings(parts.registry, this.#options.helloTimeoutMs);
    this.#server = new WebSocketServer({
      noServer: true,
      handleProtocols: answerOffer,
      // Compression costs about 240 KiB a connection, and steps are small.
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
    });
    // One timer for all sessions: ten thousand of their own would wake the process ten thousand times.
    this.#sweep = setInterval(() => this.#pingAll(), this.#options.pingEveryMs);
  }

  /** Takes over an HTTP upgrade request for the agents' path. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const host = await this.#authenticate(request);
    if (socket.destroyed) return;
    if (host === null || this.#greetings.pending >= this.#options.maxPending) {
      const status = host === null ? "401 Unauthorized" : "503 Service Unavailable";
      this.#count(host === null ? "unauthorized" : "too-many-pending");
      if (host === null) this.#turnedAway(request.socket.remoteAddress ?? "");
      refuseUpgrade(socket, status);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (websocket) => {
      this.#arrived(host, websocket, () => this.#authenticate(request));
    });
  }

  /**
   * Hands a message to a host's live session. False: none, or it can't take more. Throws `agent-too-old` where the session's
   * protocol has no words for it.
   */
  send(host: string, message: ControllerMessage): boolean {
    const session = this.#sessions.get(host);
    if (session === undefined) return false;
    if (session.send(message)) return true;
    if (session.backedUp) {
      this.#log.warn({ host }, "agent does not read; closing its connection");
      session.terminate();
    }
    return false;
  }

  /** Says the same to everybody who has words for it, encoded once. Lossy: who doesn't read, misses it. */
  broadcast(message: ControllerMessage): void {
    const frame = encode(message);
    for (const session of this.#sessions.values()) if (session.protocol === PROTOCOL.newest) session.sendFrame(frame);
  }

  /** Ends a host's connection at once, for instance because its token was revoked. */
  disconnect(host: string, error: ErrorInfo): void {
    const session = this.#sessions.get(host);
    session?.send({ type: "refused", error, retry: false });
    if (session === undefined) return;
    session.close(CloseCode.unauthorized, error.code);
    this.#sessions.delete(host);
    this.#presence.left(host, this.#now());
    this.#events.disconnected(host);
  }

  /** Ends all connections and the sweep. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    this.#greetings.close();
    for (const session of this.#sessions.values()) session.close(1001, "belayd is going away");
    // A peer that doesn't answer the closing handshake must not hold the process.
    const patience = setTimeout(() => {
      for (const socket of this.#server.clients) socket.terminate();
    }, CLOSE_PATIENCE_MS);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    clearTimeout(patience);
  }

  async #authenticate(request: IncomingMessage): Promise<string | null> {
    const token = bearerToken(request.headers.authorization);
    if (token === null) return null;
    try {
      return await this.#registry.hostOfToken(hashToken(token));
    } catch (error) {
      this.#log.error({ err: error }, "cannot look up an agent's token");
      return null;
    }
  }

  #arrived(host: string, socket: WebSocket, identify: () => Promise<string | null>): void {
    socket.on("error", (error) => this.#log.info({ host, err: error }, "agent connection failed"));
    this.#greetings
      .hear(host, socket, identify)
      .then((greeted) => {
        if (greeted !== null) this.#welcome(host, socket, greeted);
      })
      .catch((error: unknown) => this.#refuse(host, socket, error))
      .finally(() => socket.resume());
  }

  #welcome(host: string, socket: WebSocket, { hello, protocol, journal }: Greeted): void {
    const probe = this.#probe(host);
    const now = this.#now();
    const forgot = journal !== null && journal !== hello.journal;
    const session = new Session({ host, hello, protocol, socket, now });
    this.#replace(host);
    this.#sessions.set(host, session);
    this.#serve(session, socket);
    this.#sayWelcome(session, probe);
    this.#presence.arrived(host, now, { protocol, version: hello.agentVersion });
    this.#log.info({ host, agentVersion: hello.agentVersion, protocol, forgot }, "agent connected");
    if (protocol >= WITNESSES_SINCE) this.#witnesses?.met(host, hello);
    this.#events
      .connected(host, hello, forgot)
      .then(() => (journal === hello.journal ? undefined : this.#registry.saveJournal(host, hello.journal, now)))
      .catch((error: unknown) => {
        this.#log.error({ host, err: error }, "the host's journal is not on record; it is asked about again");
      });
  }

  /** An agent too old to be told what to look at may connect all the same: how else would it be upgraded? */
  #sayWelcome(session: Session, probe: FactProbe | null): void {
    const { pingEveryMs, factsEveryMs } = this.#options;
    const welcome = { type: "welcome", protocol: session.protocol, pingEveryMs, factsEveryMs } as const;
    try {
      session.send({ ...welcome, probe });
    } catch (error) {
      this.#log.error({ host: session.host, error: errorInfo(error) }, "no facts can be asked of this agent");
      session.send({ ...welcome, probe: null });
    }
  }

  /** A host whose variables make no sense may connect: planning says what is wrong with them. */
  #probe(host: string): FactProbe | null {
    try {
      return this.#probeOf(host);
    } catch (error) {
      this.#log.error({ host, error: errorInfo(error) }, "no facts can be asked of this host");
      return null;
    }
  }

  #serve(session: Session, socket: WebSocket): void {
    const { host } = session;
    const hear = () => {
      session.heardAt = this.#now();
    };
    socket.on("pong", hear);
    socket.on("ping", hear);
    socket.on("message", (data, isBinary) => {
      // A connection that was replaced or ended has no say any more, whatever is still under way on it.
      if (this.#sessions.get(host) !== session) return;
      hear();
      try {
        this.#take(host, read(data, isBinary, session.protocol));
      } catch (error) {
        this.#refuse(host, socket, error);
      }
    });
    socket.once("close", (code) => {
      if (this.#sessions.get(host) !== session) return;
      this.#sessions.delete(host);
      this.#presence.left(host, this.#now());
      this.#log.info({ host, code }, "agent disconnected");
      this.#events.disconnected(host);
    });
  }

  #take(host: string, message: AgentMessage): void {
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
        this.#witnesses?.said(host, message);
        return;
    }
  }

  /** A second live connection of one identity replaces the first: the agent was restarted, or its network went away. */
  #replace(host: string): void {
    const old = this.#sessions.get(host);
    if (old === undefined) return;
    this.#log.warn({ host }, "a newer connection of this agent replaces an older one");
    this.#sessions.delete(host);
    old.close(CloseCode.replaced, "replaced by a newer connection");
  }

  #refuse(host: string, socket: WebSocket, thrown: unknown): void {
    const error = errorInfo(thrown);
    this.#count(error.code);
    this.#log.warn({ host, error }, "agent refused");
    if (socket.readyState === socket.OPEN) {
      const retry = error.code !== "host-mismatch" && error.code !== "token-revoked";
      socket.send(encode({ type: "refused", error, retry }));
      socket.close(error.code === "protocol-unsupported" ? CloseCode.protocol : CloseCode.malformed, error.code);
    }
  }

  #count(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }

  #pingAll(): void {
    const deadline = this.#now() - 3 * this.#options.pingEveryMs;
    for (const session of this.#sessions.values()) {
      if (session.heardAt < deadline) session.terminate();
      else session.ping();
    }
  }
}

/** Answers an upgrade with a refusal and lets go of the socket: a peer that keeps its half open would keep it for ever. */
export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.once("finish", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** Tokens are random and long: a plain digest is enough at rest, and can be looked up by index. */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** The token of an `Authorization: Bearer` header, or null. */
export function bearerToken(header: string | undefined): string | null {
  return /^Bearer ([A-Za-z0-9._~+/=-]{16,512})$/.exec(header ?? "")?.[1] ?? null;
}
