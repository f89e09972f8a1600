import type { Duplex } from "node:stream";
import { CloseCode, encode, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { WebSocket } from "ws";

/** Turns agents away, with the reason in words that they have, and counts how often it was which. */
export class Refusals {
  /** By error code. */
  readonly counts = new Map<string, number>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** There is no connection yet: all that can be said is an HTTP status. */
  upgrade(socket: Duplex, code: string, status: string): void {
    this.#count(code);
    refuseUpgrade(socket, status);
  }

  /** Says what was thrown on a host's connection, and closes it. */
  connection(host: string, socket: WebSocket, thrown: unknown): void {
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
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1);
  }
}

/** Answers an upgrade with a refusal and lets go of the socket: a peer that keeps its half open would keep it for ever. */
export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.once("finish", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
