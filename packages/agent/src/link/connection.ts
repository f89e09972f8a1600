import {
  type AgentMessage,
  type Authorities,
  type BelayError,
  CloseCode,
  type ControllerMessage,
  decodeControllerMessage,
  type ErrorInfo,
  encode,
  errorInfo,
  type Hello,
  type LogCheckpoint,
  protocolNamed,
} from "@belay/shared";
import type { Clock } from "../clock.js";
import { type Dial, type Socket, type SocketEnd, socketError } from "./socket.js";

/** How one connection ended. What to do about it is the supervisor's business. */
export type ConnectionEnd =
  | { kind: "unreachable"; error: BelayError }
  | { kind: "refused"; error: ErrorInfo; retry: boolean }
  | { kind: "lost"; why: string; servedMs: number }
  | { kind: "halted" };

type Welcome = Extract<ControllerMessage, { type: "welcome" }>;

/** What serves a connection once the controller has welcomed it. */
export interface Served {
  welcomed(welcome: Welcome): void;
  step(step: Extract<ControllerMessage, { type: "step" }>): void;
  ack(step: string): void;
  checkpoint(checkpoint: LogCheckpoint): void;
  authorities(message: Authorities): void;
}

/** Each phase owns its socket and its timer; leaving a phase is the only way to drop them. */
type State =
  | { phase: "dialling"; socket: Socket; cancel: () => void }
  | { phase: "greeting"; socket: Socket; cancel: () => void; protocol: number }
  | { phase: "serving"; socket: Socket; cancel: () => void; protocol: number; silenceMs: number; since: number }
  | { phase: "over" };

const DIAL_TIMEOUT_MS = 20_000;
const WELCOME_TIMEOUT_MS = 10_000;
/** Three missed pings: one may be late, two may be a hiccup of the network. */
const MISSED_PINGS = 3;
/** Above this backlog progress is dropped: it is lossy, and outcomes must not wait behind it. */
const MAX_LOSSY_BACKLOG_BYTES = 256 * 1024;

/** One dial, from the first byte to the last: hello, welcome, serve. Used once. */
export class Connection {
  readonly #clock: Clock;
  readonly #served: Served;
  readonly #hello: (protocol: number) => Hello;
  readonly #finish: (end: ConnectionEnd) => void;
  readonly ended: Promise<ConnectionEnd>;
  #state: State;

  constructor(options: { dial: Dial; clock: Clock; hello: (protocol: number) => Hello; served: Served }) {
    this.#clock = options.clock;
    this.#served = options.served;
    this.#hello = options.hello;
    const { promise, resolve } = withResolver<ConnectionEnd>();
    this.ended = promise;
    this.#finish = resolve;
    const socket = options.dial({
      opened: (subprotocol) => this.#opened(subprotocol),
      text: (frame) => this.#text(frame),
      heard: () => this.#heard(),
      closed: (end) => this.#closed(end),
    });
    this.#state = { phase: "dialling", socket, cancel: this.#timer(DIAL_TIMEOUT_MS, "no connection") };
  }

  /** Sends if the controller has welcomed us; else drops: what matters is in the journal and is sent again. */
  send(message: AgentMessage): void {
    if (this.#state.phase !== "serving") return;
    const { socket, protocol } = this.#state;
    if (message.type === "progress" && socket.backlog > MAX_LOSSY_BACKLOG_BYTES) return;
    socket.send(encode(message, protocol));
  }

  /** How long it has served; null: it doesn't. */
  get servedMs(): number | null {
    return this.#state.phase === "serving" ? this.#clock.ticks() - this.#state.since : null;
  }

  /** Ends it from our side, politely. */
  halt(): void {
    const { socket } = this.#leave({ kind: "halted" });
    socket?.close(1001, "agent stops");
    // Nobody waits for the closing handshake of a peer that may be gone.
    if (socket !== null) this.#clock.timer(0, () => socket.terminate());
  }

  #opened(subprotocol: string): void {
    if (this.#state.phase !== "dialling") return;
    const protocol = protocolNamed(subprotocol);
    if (protocol === null) {
      this.#breakOff(CloseCode.protocol, `the controller chose ${subprotocol}`);
      return;
    }
    const { socket, cancel } = this.#state;
    cancel();
    this.#state = { phase: "greeting", socket, cancel: this.#timer(WELCOME_TIMEOUT_MS, "no welcome"), protocol };
    socket.send(encode(this.#hello(protocol), protocol));
  }

  #text(frame: string): void {
    // Nothing is heard while dialling.
    if (this.#state.phase === "over" || this.#state.phase === "dialling") return;
    let message: ControllerMessage;
    try {
      message = decodeControllerMessage(frame, this.#state.protocol);
    } catch (error) {
      this.#breakOff(CloseCode.malformed, errorInfo(error).message);
      return;
    }
    if (message.type === "refused") {
      const { error, retry } = message;
      this.#leave({ kind: "refused", error, retry }).socket?.close(1000, "refused");
      return;
    }
    if (this.#state.phase === "greeting") this.#greeted(message);
    else if (this.#state.phase === "serving") this.#serve(message);
  }

  #greeted(message: Exclude<ControllerMessage, { type: "refused" }>): void {
    if (this.#state.phase !== "greeting") return;
    if (message.type !== "welcome") {
      this.#breakOff(CloseCode.malformed, `${message.type} before welcome`);
      return;
    }
    const { socket, cancel, protocol } = this.#state;
    if (message.protocol !== protocol) {
      this.#breakOff(CloseCode.protocol, `welcome in protocol ${message.protocol}, but ${protocol} was agreed on`);
      return;
    }
    cancel();
    const silenceMs = message.pingEveryMs * MISSED_PINGS;
    const since = this.#clock.ticks();
    const silence = this.#timer(silenceMs, "silence");
    this.#state = { phase: "serving", socket, cancel: silence, protocol, silenceMs, since };
    this.#served.welcomed(message);
  }

  #serve(message: Exclude<ControllerMessage, { type: "refused" }>): void {
    switch (message.type) {
      case "step":
        this.#served.step(message);
        return;
      case "ack":
        this.#served.ack(message.step);
        return;
      case "checkpoint":
        this.#served.checkpoint(message);
        return;
      case "authorities":
        this.#served.authorities(message);
        return;
      case "welcome":
        this.#breakOff(CloseCode.malformed, "a second welcome");
    }
  }

  #heard(): void {
    if (this.#state.phase !== "serving") return;
    this.#state.cancel();
    this.#state.cancel = this.#timer(this.#state.silenceMs, "silence");
  }

  #closed(how: SocketEnd): void {
    const error = socketError(how);
    if (this.#state.phase === "serving") this.#lost(error.message);
    else if (how.kind === "denied" && (how.status === 401 || how.status === 403)) {
      this.#leave({ kind: "refused", error: error.toJSON(), retry: false });
    } else this.#leave({ kind: "unreachable", error });
  }

  #timer(ms: number, what: string): () => void {
    return this.#clock.timer(ms, () => this.#breakOff(null, `${what} for ${ms} ms`));
  }

  #breakOff(code: number | null, why: string): void {
    const { socket } = this.#lost(why);
    if (code === null) socket?.terminate();
    else socket?.close(code, why.slice(0, 120));
  }

  #lost(why: string): { socket: Socket | null } {
    const servedMs = this.#state.phase === "serving" ? this.#clock.ticks() - this.#state.since : 0;
    return this.#leave({ kind: "lost", why, servedMs });
  }

  /** The one way out: drops the timer, tells the end once, and hands back the socket for its last word. */
  #leave(end: ConnectionEnd): { socket: Socket | null } {
    if (this.#state.phase === "over") return { socket: null };
    const { socket, cancel } = this.#state;
    cancel();
    this.#state = { phase: "over" };
    this.#finish(end);
    return { socket };
  }
}

function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
