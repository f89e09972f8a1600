import { BelayError, type ControllerMessage, encode, type FactProbe, type Hello } from "@belay/shared";
import type { WebSocket } from "ws";

/** A step is a few KiB: an agent that is this far behind does not read, and would cost memory for nothing. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/**
 * One welcomed connection of one host. It knows its socket and nothing of policy: whoever holds it decides when it ends.
 */
export class Session {
  readonly host: string;
  readonly hello: Hello;
  /** The version of the protocol that was agreed on. */
  readonly protocol: number;
  /** The address that it came from. */
  readonly from: string;
  /** It came with a certificate. */
  readonly certified: boolean;
  /** What it was told to look at; null: nothing. */
  readonly probe: FactProbe | null;
  /** When anything, a pong included, was last heard. */
  heardAt: number;
  readonly #socket: WebSocket;

  constructor(parts: {
    host: string;
    hello: Hello;
    protocol: number;
    socket: WebSocket;
    now: number;
    from: string;
    certified: boolean;
    probe: FactProbe | null;
  }) {
    this.host = parts.host;
    this.hello = parts.hello;
    this.protocol = parts.protocol;
    this.heardAt = parts.now;
    this.from = parts.from;
    this.certified = parts.certified;
    this.probe = parts.probe;
    this.#socket = parts.socket;
  }

  /**
   * False when the message was not handed to a live socket: the sender must count on nothing. Throws `agent-too-old`, and
   * nothing is sent, where the agreed protocol can't say it.
   */
  send(message: ControllerMessage): boolean {
    const frame = this.#frame(message);
    if (this.#socket.readyState !== this.#socket.OPEN) return false;
    if (this.#socket.bufferedAmount > MAX_UNREAD_BYTES) return false;
    this.#socket.send(frame);
    return true;
  }

  /** As `send`, of what was encoded once for everybody who speaks this protocol. */
  sendFrame(frame: string): void {
    if (this.#socket.readyState === this.#socket.OPEN && !this.backedUp) this.#socket.send(frame);
  }

  #frame(message: ControllerMessage): string {
    try {
      return encode(message, this.protocol);
    } catch (cause) {
      if (!(cause instanceof BelayError)) throw cause;
      const { agentVersion } = this.hello;
      throw new BelayError(
        "agent-too-old",
        `the agent ${agentVersion} of ${this.host} can't do this: ${cause.message}`,
        {
          hint: "Upgrade it first: belay agent upgrade, or its package.",
          context: { agentVersion, protocol: this.protocol },
          cause,
        },
      );
    }
  }

  get backedUp(): boolean {
    return this.#socket.bufferedAmount > MAX_UNREAD_BYTES;
  }

  ping(): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  /** For a peer that does not answer: no closing handshake to wait for. */
  terminate(): void {
    this.#socket.terminate();
  }
}
