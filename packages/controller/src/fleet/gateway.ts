import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import {
  type Authorities,
  CloseCode,
  type ControllerMessage,
  type ErrorInfo,
  encode,
  errorInfo,
  type FactProbe,
  type Hello,
  PROTOCOL,
  type Witnessed,
} from "@belay/shared";
import type { Logger } from "pino";
import type { WebSocket } from "ws";
import type { Rate } from "../rates.js";
import { type Arrival, Entrance, type EntranceLimits } from "./entrance.js";
import type { Registry } from "./greeting.js";
import { Hearing, type StepEvents } from "./hearing.js";
import { LiveSessions } from "./live-sessions.js";
import type { Presence } from "./presence.js";
import { Refusals } from "./refusals.js";
import { Session } from "./session.js";

/** Whom hosts that came with a certificate must trust, and what they say of it. */
export interface Trust {
  message(): Authorities;
  hostTrusts(host: string, pins: readonly string[]): void;
  /** Connections of one identity throw each other out again and again, from these addresses. */
  cloned(host: string, from: readonly string[]): void;
}

/** Where what agents say goes, and that they come and go. Calls come in the order of one connection and must not throw. */
export interface AgentEvents extends StepEvents {
  /**
   * Welcomed. `forgot`: its journal is a new one, so what it had been sent before is lost to it. Settles when every run
   * has that on record: only then is the new journal taken for the host's own (I7).
   */
  connected(host: string, hello: Hello, forgot: boolean): Promise<void>;
  disconnected(host: string): void;
}

/** Hosts as witnesses of the audit log. Must not throw. */
export interface WitnessDesk {
  /** Welcomed, and able to take checkpoints. */
  met(host: string, hello: Hello): void;
  said(host: string, message: Witnessed): void;
}

export interface GatewayOptions extends EntranceLimits {
  readonly pingEveryMs: number;
  readonly factsEveryMs: number;
  /** Whoever was asked to come again is not gone before this: a redial, a handshake, and a queue of others. */
  readonly returnPatienceMs: number;
  /** Messages of one agent. One that says more is read no faster than this; nothing of it is lost. */
  readonly messages: Rate;
}

export const GATEWAY_DEFAULTS: GatewayOptions = {
  pingEveryMs: 10_000,
  factsEveryMs: 60_000,
  helloTimeoutMs: 10_000,
  maxPending: 1_000,
  maxPendingPerHost: 4,
  returnPatienceMs: 10_000,
  messages: { burst: 2_000, perSecond: 200 },
};

/** How many agents are asked to come again at once, and how long after the last ones: thousands together would queue up. */
const ASKED_AGAIN = { atOnce: 200, everyMs: 250 } as const;

/** Which version of the protocol first has words for what. */
const WORDS_SINCE = { authorities: 2, checkpoints: 2 } as const;

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
  readonly #trust: Trust | null;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #options: GatewayOptions;
  readonly #refusals: Refusals;
  readonly #entrance: Entrance;
  readonly #sessions: LiveSessions;
  readonly #hearing: Hearing;
  readonly #sweep: NodeJS.Timeout;
  /** Sessions whose hosts were asked to come again: a plan made meanwhile finds them there. */
  readonly #expected = new WeakSet<Session>();
  #closed = false;

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
    const { registry, presence, events, hostOf, trust, now, log } = parts;
    this.#registry = registry;
    this.#presence = presence;
    this.#events = events;
    this.#probeOf = parts.probeOf;
    this.#witnesses = parts.witnesses ?? null;
    this.#trust = trust;
    this.#now = now;
    this.#log = log;
    this.#options = { ...GATEWAY_DEFAULTS, ...parts.options };
    this.#refusals = new Refusals(log);
    this.#entrance = new Entrance({
      registry,
      hostOf,
      turnedAway: parts.turnedAway ?? (() => {}),
      welcome: (arrival) => this.#welcome(arrival),
      refusals: this.#refusals,
      limits: this.#options,
      log,
    });
    this.#sessions = new LiveSessions((host, from) => trust?.cloned(host, from), log);
    this.#hearing = new Hearing({
      events,
      presence,
      witnessed: (host, message) => this.#witnesses?.said(host, message),
      hostTrusts: (host, pins) => trust?.hostTrusts(host, pins),
      rate: this.#options.messages,
      now,
    });
    // One timer for all sessions: ten thousand of their own would wake the process ten thousand times.
    const { pingEveryMs } = this.#options;
    this.#sweep = setInterval(() => this.#sessions.ping(now() - 3 * pingEveryMs), pingEveryMs);
  }

  /** Connections closed for what they said, by error code: for metrics and tests. */
  get refused(): ReadonlyMap<string, number> {
    return this.#refusals.counts;
  }

  /**
   * Takes over an HTTP upgrade request for the agents' path. `admit` is told whose it is, or that nobody knows, and says
   * whether they may come in now. */
  upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    admit: (host: string | null) => boolean = () => true,
  ): Promise<void> {
    return this.#entrance.enter(request, socket, head, admit);
  }

  /**
   * Hands a message to a host's live session. False: none, or it can't take more. Throws `agent-too-old` where the session's
   * protocol has no words for it.
   */
  send(host: string, message: ControllerMessage): boolean {
    const session = this.#sessions.of(host);
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
    for (const session of this.#sessions) if (session.protocol === PROTOCOL.newest) session.sendFrame(frame);
  }

  /** Ends a host's connection at once, for instance because its token was revoked. */
  disconnect(host: string, error: ErrorInfo): void {
    const session = this.#sessions.of(host);
    if (session === undefined) return;
    session.send({ type: "refused", error, retry: false });
    session.close(CloseCode.unauthorized, error.code);
    this.#sessions.drop(session);
    this.#left(session);
  }

  /** Tells every host that came with a certificate whom to trust from now on. */
  announce(message: Authorities): void {
    for (const session of this.#sessions) if (isToldTrust(session)) session.send(message);
  }

  /**
   * To be called when hosts may have to look at something else than they were told when they were welcomed. Only a welcome
   * tells that, so those whom it concerns are let go, and dial again. Idempotent; settles when all of them were asked to.
   */
  async reprobe(): Promise<void> {
    const outdated = [...this.#sessions].filter(({ host, probe }) => !isDeepStrictEqual(this.#probe(host), probe));
    if (outdated.length > 0) this.#log.info({ hosts: outdated.length }, "hosts must look at something else now");
    for (const [index, session] of outdated.entries()) {
      if (index > 0 && index % ASKED_AGAIN.atOnce === 0) await sleep(ASKED_AGAIN.everyMs);
      if (this.#closed) return;
      this.#expected.add(session);
      session.close(CloseCode.outdated, "what to look at has changed");
    }
  }

  /** Ends all connections and the sweep. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const session of this.#sessions) session.close(1001, "belayd is going away");
    await this.#entrance.close();
  }

  #welcome({ host, socket, from, certified, hello, protocol, journal }: Arrival): void {
    const probe = this.#probe(host);
    const now = this.#now();
    const forgot = journal !== null && journal !== hello.journal;
    const session = new Session({ host, hello, protocol, socket, now, from, certified, probe });
    this.#sessions.put(session, now);
    this.#serve(session, socket);
    this.#sayWelcome(session, probe);
    // Made for each anew, with a signature over the time: not for those who get nothing of it.
    if (this.#trust !== null && isToldTrust(session)) session.send(this.#trust.message());
    this.#presence.arrived(host, now, { protocol, version: hello.agentVersion });
    this.#log.info({ host, agentVersion: hello.agentVersion, protocol, forgot }, "agent connected");
    if (protocol >= WORDS_SINCE.checkpoints) this.#witnesses?.met(host, hello);
    this.#events
      .connected(host, hello, forgot)
      .then(() => (journal === hello.journal ? undefined : this.#registry.saveJournal(host, hello.journal, now)))
      .catch((error: unknown) => {
        this.#log.error({ host, err: error }, "the host's journal is not on record; it is asked about again");
      });
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
    const isAlive = () => {
      session.heardAt = this.#now();
    };
    socket.on("pong", isAlive);
    socket.on("ping", isAlive);
    socket.on("message", (data, isBinary) => {
      if (!this.#sessions.has(session)) return;
      try {
        this.#hearing.hear(session, socket, data, isBinary);
      } catch (error) {
        this.#refusals.connection(host, socket, error);
      }
    });
    socket.once("close", (code) => {
      if (!this.#sessions.drop(session)) return;
      this.#log.info({ host, code }, "agent disconnected");
      if (this.#expected.has(session))
        setTimeout(() => this.#expectedBack(session), this.#options.returnPatienceMs).unref();
      else this.#left(session);
    });
  }

  #expectedBack(session: Session): void {
    const isHere = this.#sessions.of(session.host) !== undefined;
    if (!isHere && !this.#closed) this.#left(session);
  }

  #left({ host }: Session): void {
    this.#presence.left(host, this.#now());
    this.#events.disconnected(host);
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
}

/** Who came with a certificate hears whom to trust from now on. One that is too old for the words has none. */
function isToldTrust({ certified, protocol }: Session): boolean {
  return certified && protocol >= WORDS_SINCE.authorities;
}
