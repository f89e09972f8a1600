import type { Socket } from "node:net";
import { originOf } from "./address.js";

/** What is known of one open connection. Keyed by its two ends, which a TLS socket shares with the one below it. */
interface Open {
  /** The one that answers go out on: a TLS socket, once a request has shown it. */
  socket: Socket;
  counted: string;
  /** Bytes that were out at the last sweep, while more waited; -1: none did. */
  taken: number;
}

export interface ConnectionLimits {
  /** From one origin, as long as nobody knows whose they are. */
  readonly strangers: number;
  readonly perPerson: number;
  readonly perHost: number;
}

/**
 * How many connections each may hold. A new one counts for where it comes from; once it is known whose it is, for them: so
 * ten thousand agents behind one address are no flood, and a flood of strangers leaves the others their places.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #open = new Map<string, Open>();
  readonly #counts = new Map<string, number>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** A socket that was just accepted; one too many is let go of at once. */
  accept(socket: Socket): void {
    const key = endsOf(socket);
    const counted = `from ${originOf(socket.remoteAddress)}`;
    if (this.of(counted) >= this.#limits.strangers) {
      socket.destroy();
      return;
    }
    const open = { socket, counted, taken: -1 };
    this.#open.set(key, open);
    this.#count(counted, 1);
    socket.once("close", () => {
      this.#count(open.counted, -1);
      if (this.#open.get(key) === open) this.#open.delete(key);
    });
  }

  /** False: they hold as many as they may. `owner`: `person ann`, `host node-1`. */
  identify(socket: Socket, owner: string): boolean {
    const open = this.#open.get(endsOf(socket));
    if (open === undefined) return true;
    open.socket = socket;
    if (open.counted === owner) return true;
    const most = owner.startsWith("host ") ? this.#limits.perHost : this.#limits.perPerson;
    if (this.of(owner) >= most) return false;
    this.#count(open.counted, -1);
    this.#count(owner, 1);
    open.counted = owner;
    return true;
  }

  /** Lets go of those that had something to read at the last sweep, and have read nothing since. */
  sweep(): void {
    for (const open of this.#open.values()) {
      const { bytesWritten, writableLength } = open.socket;
      const taken = bytesWritten - writableLength;
      if (writableLength > 0 && taken === open.taken) open.socket.destroy();
      open.taken = writableLength > 0 ? taken : -1;
    }
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  #count(key: string, change: 1 | -1): void {
    const count = this.of(key) + change;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

function endsOf({ localPort, remoteAddress, remotePort }: Socket): string {
  return `${localPort} ${remoteAddress} ${remotePort}`;
}
