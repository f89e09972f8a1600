import { type ControllerMessage, encode, type Hello } from "@belay/shared";
import type { WebSocket } from "ws";

/** A step is a few KiB: an agent that is this far behind does not read, and would cost memory for nothing. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/**
 * One welcomed connection of one host. It knows its socket and nothing of policy: whoever holds it decides when it ends.
 */
export class Session {
  readonly host: string;
  readonly hello: Hello;
  /** When anything, a pong included, was last heard. */
  heardAt: number;
  readonly #socket: WebSocket;

  constructor(host: string, hello: Hello, socket: WebSocket, now: number) {
    this.host = host;
    this.hello = hello;
    this.heardAt = now;
    this.#socket = socket;
  }

  /** False when the message was not handed to a live socket: the sender must count on nothing. */
  send(message: ControllerMessage): boolean {
    if (this.#socket.readyState !== this.#socket.OPEN) return false;
    if (this.#socket.bufferedAmount > MAX_UNREAD_BYTES) return false;
    this.#socket.send(encode(message));
    return true;
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
