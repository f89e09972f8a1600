import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { BelayError } from "@belay/shared";
import type { FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { bearerToken, hashToken } from "../../bearer-token.js";
import type { Caller } from "../../people/caller.js";
import { Rates } from "../../rates.js";
import { originOf } from "./address.js";
import { Attempts } from "./attempts.js";
import { watchBody } from "./body-pace.js";
import { Connections } from "./connections.js";
import { type DoorLimits, MOST_CALLERS } from "./limits.js";

export interface DoorParts {
  readonly limits: DoorLimits;
  readonly now: () => number;
  readonly log: Logger;
}

/** What keeps anybody from taking more of belayd than their share, at both doors. */
export class Doors {
  readonly connections: Connections;
  readonly attempts = new Attempts();
  readonly #parts: DoorParts;
  readonly #sweep: NodeJS.Timeout;
  readonly #rates: Readonly<Record<"person" | "host" | "stranger", Rates>>;

  constructor(parts: DoorParts) {
    const { connections, requests } = parts.limits;
    this.#parts = parts;
    this.connections = new Connections(connections);
    this.#sweep = setInterval(() => this.connections.sweep(), parts.limits.unreadMs).unref();
    this.#rates = {
      person: new Rates(requests.person, MOST_CALLERS),
      host: new Rates(requests.host, MOST_CALLERS),
      stranger: new Rates(requests.stranger, MOST_CALLERS),
    };
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#sweep);
  }

  get limits(): DoorLimits {
    return this.#parts.limits;
  }

  /**
   * Before anybody looks up who asks. Only where there is something to guess: a token, or what a route takes that is open
   * to anyone (`isOpen`); a host that shows its certificate is not locked out by its neighbours. Throws `locked-out`.
   */
  checkLock(request: IncomingMessage, isOpen = false): void {
    if (!isOpen && shown(request) === null) return;
    const wait = this.attempts.lockedFor(originOf(request.socket.remoteAddress), shown(request), this.#parts.now());
    if (wait > 0) throw tooMany("locked-out", "too many failed sign-ins from here", wait);
  }

  /**
   * Once it is known who asks, or that nobody knows. Throws `too-many-requests`, and `too-many-connections` where they hold
   * more than they may.
   */
  admit(request: IncomingMessage, caller: Caller): void {
    const { now } = this.#parts;
    const origin = originOf(request.socket.remoteAddress);
    const hash = shown(request);
    if (caller.kind === "anyone" && hash !== null) this.failed(request);
    if (caller.kind !== "anyone" && hash !== null) this.attempts.succeeded(hash);
    const [rates, key] =
      caller.kind === "person"
        ? [this.#rates.person, caller.name]
        : caller.kind === "host"
          ? [this.#rates.host, caller.host]
          : [this.#rates.stranger, origin];
    const wait = rates.take(key, now());
    if (wait > 0) throw tooMany("too-many-requests", `too many requests of ${key}`, wait);
    if (caller.kind === "anyone" || this.connections.identify(request.socket as Socket, `${caller.kind} ${key}`))
      return;
    throw tooMany("too-many-connections", `${key} holds as many connections as it may`, 1_000);
  }

  /** Somebody showed something that is good for nothing. */
  failed(request: IncomingMessage): void {
    const origin = originOf(request.socket.remoteAddress);
    if (this.attempts.failed(origin, shown(request), this.#parts.now())) {
      this.#parts.log.warn(
        { origin },
        "too many failed sign-ins: locked out for a while, longer with each further one",
      );
    }
  }

  /** The rest of a request that was let in. */
  watchBody(request: FastifyRequest): void {
    watchBody(request, this.#parts.limits.body, request.routeOptions.config.takes === "bytes");
  }
}

function shown({ headers }: IncomingMessage): string | null {
  const token = bearerToken(headers.authorization);
  return token === null ? null : hashToken(token);
}

function tooMany(code: string, message: string, retryAfterMs: number): BelayError {
  return new BelayError(code, message, {
    hint: `Try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
    context: { retryAfterMs },
  });
}
