import type { OutgoingHttpHeaders } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";

/** So that proxies and clients can tell a quiet stream from a dead one. */
const HEARTBEAT_MS = 15_000;
/** A reader this far behind does not read: it is cut off, and may come back. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/** Server-sent events on one response. Everything it owns dies with the response, whichever side ends it. */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #atEnd: (() => void)[] = [];
  #open = true;

  constructor(request: FastifyRequest, reply: FastifyReply) {
    this.#reply = reply;
    reply.hijack();
    reply.raw.writeHead(200, {
      ...(reply.getHeaders() as OutgoingHttpHeaders),
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      connection: "keep-alive",
    });
    this.#heartbeat = setInterval(() => this.#write(": still here\n\n"), HEARTBEAT_MS);
    request.raw.socket.setTimeout(0);
    reply.raw.once("close", () => this.end());
    reply.raw.on("error", () => this.end());
  }

  get open(): boolean {
    return this.#open;
  }

  /** `id`, if given, is what a reader that comes back names as the last it saw. */
  send(event: string, data: unknown, id?: number): void {
    this.#write(`event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
  }

  /** Something to let go of when the stream ends; at once, if it has. */
  onEnd(release: () => void): void {
    if (this.#open) this.#atEnd.push(release);
    else release();
  }

  /** Idempotent. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#heartbeat);
    for (const release of this.#atEnd) release();
    this.#reply.raw.end();
  }

  #write(text: string): void {
    if (!this.#open) return;
    this.#reply.raw.write(text);
    if (this.#reply.raw.writableLength > MAX_UNREAD_BYTES) {
      this.end();
      this.#reply.raw.destroy();
    }
  }
}
