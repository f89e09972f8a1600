import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import {
  type AgentMessage,
  type Authorities,
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
import { Rates } from "../rates.js";
import { Flapping } from "./flapping.js";
import { answerOffer, type Greeted, Greetings, type Registry, read } from "./greeting.js";
import type { Presence } from "./presence.js";
import { Session } from "./session.js";

/** Whom hosts that came with a certificate must trust, and what they say of it. */
export interface Trust {
  message(): Authorities;
  hostTrusts(host: string, pins: readonly string[]): void;
  /** Connections of one identity throw each other out again and again, from these addresses. */
  cloned(host: string, from: readonly string[]): void;
}

/** Who dials, and how the connection was made. */
interface Arrival {
  readonly host: string;
  readonly from: string;
  /** By a certificate: over TLS. */
  readonly certified: boolean;
  /** Says who it is once more: that may have ended meanwhile. */
  readonly identify: () => Promise<string | null>;
}

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
  /** Of one host: an agent dials one at a time, and may not know yet that its last one is dead. */
  readonly maxPendingPerHost: number;
  /** Messages of one agent. One that says more is read no faster than this; nothing of it is lost. */
  readonly messages: { readonly burst: number; readonly perSecond: number };
}

export const GATEWAY_DEFAULTS: GatewayOptions = {
  pingEveryMs: 10_000,
  factsEveryMs: 60_000,
  helloTimeoutMs: 10_000,
  maxPending: 1_000,
  maxPendingPerHost: 4,
  messages: { burst: 2_000, perSecond: 200 },
};

/** The version of the protocol that has words for checkpoints. */
const WITNESSES_SINCE = 2;
/** More than a fleet has agents. */
const MOST_PACED = 100_000;
const CLOSE_PATIENCE_MS = 1_000;

/**
 * Where agents dial in. Each connection: identified at the upgrade, hello within a time, then served until either side
 * ends it. Anything malformed closes that connection with a code and hurts nobody else.
 */
export class Gateway {
  readonly #registry: Registry;
  readonly #presence: Presence;
  readonly #events: AgentEvents;
  readonly #probeOf: (host: string) => FactProbe | null;
  readonly #witnesses: WitnessDesk | null;
  readonly #turnedAway: (address: string) => void;
  readonly #hostOf: (request: IncomingMessage) => Promise<string | null>;
  readonly #trust: Trust | null;
  readonly #flapping = new Flapping();
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #options: GatewayOptions;
  readonly #server: WebSocketServer;
  readonly #sessions = new Map<string, Session>();
  readonly #greetings: Greetings;
  readonly #rates: Rates;
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
    /** Whose request this is, by its certificate or its token; null: nobody's. */
    hostOf: (request: IncomingMessage) => Promise<string | null>;
    /** Null: nobody comes with a certificate. */
    trust: Trust | null;
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
    this.#hostOf = parts.hostOf;
    this.#trust = parts.trust;
    this.#now = parts.now;
    this.#log = parts.log;
    this.#options = { ...GATEWAY_DEFAULTS, ...parts.options };
    this.#rates = new Rates(this.#options.messages, MOST_PACED);
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

  /**
   * Takes over an HTTP upgrade request for the agents' path. `admit` is told whose it is, or that nobody knows, and says
   * whether they may come in now. */
  async upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    admit: (host: string | null) => boolean = () => true,
  ): Promise<void> {
    const host = await this.#authenticate(request);
    if (socket.destroyed) return;
    const isAdmitted = admit(host);
    if (host !== null && (!isAdmitted || this.#greetings.pendingOf(host) >= this.#options.maxPendingPerHost)) {
      this.#count("too-many-connections");
      refuseUpgrade(socket, "429 Too Many Requests");
      return;
    }
    if (host === null || this.#greetings.pending >= this.#options.maxPending) {
      const status = host === null ? "401 Unauthorized" : "503 Service Unavailable";
      this.#count(host === null ? "unauthorized" : "too-many-pending");
      if (host === null) this.#turnedAway(request.socket.remoteAddress ?? "");
      refuseUpgrade(socket, status);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (websocket) => {
      const { remoteAddress: from = "" } = request.socket;
      const identify = () => this.#authenticate(request);
      this.#arrived({ host, from, certified: "encrypted" in request.socket, identify }, websocket);
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

  /** Tells every host that came with a certificate whom to trust from now on. */
  announce(message: Authorities): void {
    for (const session of this.#sessions.values()) this.#sayTrust(session, message);
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
    try {
      return await this.#hostOf(request);
    } catch (error) {
      this.#log.error({ err: error }, "cannot look up who an agent is");
      return null;
    }
  }

  #arrived(arrival: Arrival, socket: WebSocket): void {
    const { host, identify } = arrival;
    socket.on("error", (error) => this.#log.info({ host, err: error }, "agent connection failed"));
    this.#greetings
      .hear(host, socket, identify)
      .then((greeted) => {
        if (greeted !== null) this.#welcome(arrival, socket, greeted);
      })
      .catch((error: unknown) => this.#refuse(host, socket, error))
      .finally(() => socket.resume());
  }

  #welcome({ host, from, certified }: Arrival, socket: WebSocket, { hello, protocol, journal }: Greeted): void {
    const probe = this.#probe(host);
    const now = this.#now();
    const forgot = journal !== null && journal !== hello.journal;
    const session = new Session({ host, hello, protocol, socket, now, from, certified });
    this.#replace(session, now);
    this.#sessions.set(host, session);
    this.#serve(session, socket);
    this.#sayWelcome(session, probe);
    if (this.#trust !== null) this.#sayTrust(session, this.#trust.message());
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

  /** Who came with a certificate hears whom to trust from now on. One that is too old for the words has none. */
  #sayTrust(session: Session, message: Authorities): void {
    if (session.certified && session.protocol >= 2) session.send(message);
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
      this.#pace(session, socket);
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

  /** Reads on only when the debt of what has come is paid: an agent that says too much is slowed down, and nobody else is. */
  #pace(session: Session, socket: WebSocket): void {
    const waitMs = this.#rates.spend(session.host, this.#now());
    if (waitMs === 0 || socket.isPaused) return;
    socket.pause();
    // That nothing is heard of it meanwhile is our doing.
    session.heardAt = this.#now() + waitMs;
    setTimeout(() => socket.resume(), waitMs).unref();
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
      case "trusts":
        if (this.#sessions.get(host)?.certified) this.#trust?.hostTrusts(host, message.authorities);
        return;
    }
  }

  /**
   * A second live connection of one identity replaces the first: the agent was restarted, or its network went away. When
   * that goes on and on, there are two of it.
   */
  #replace({ host, from }: Session, now: number): void {
    const old = this.#sessions.get(host);
    if (old === undefined) return;
    this.#log.warn({ host, from, before: old.from }, "a newer connection of this agent replaces an older one");
    this.#sessions.delete(host);
    old.close(CloseCode.replaced, "replaced by a newer connection");
    const places = this.#flapping.replaced(host, [old.from, from], now);
    if (places !== null) this.#trust?.cloned(host, places);
  }

  #refuse(host: string, socket: WebSocket, thrown: unknown): void {
    const error = errorInfo(thrown);
    this.#count(error.code);
    this.#log.warn({ host, error }, "agent refused");
    if (socket.readyState === socket.OPEN) {
      const retry = error.code !== "host-mismatch" && error.code !== "identity-ended";
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
