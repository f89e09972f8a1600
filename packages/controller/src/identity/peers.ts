import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { errorInfo } from "@belay/shared";
import type { Authorities } from "./authorities.js";
import type { Tell } from "./event.js";
import { type HostCertificate, readHostCertificate } from "./host-certificate.js";
import type { Identities } from "./identities.js";

/** The same refusal of the same peer is told once in this long: one that redials every second must not flood a log. */
const TELL_AGAIN_MS = 60_000;
const MAX_TOLD = 10_000;

/** Which host is at the other end of a connection, by the certificate it showed when it shook hands. */
export class Peers {
  readonly #authorities: Authorities;
  readonly #identities: Identities;
  readonly #now: () => number;
  readonly #tell: Tell;
  /** What the handshake showed doesn't change; what it is worth does. */
  readonly #shown = new WeakMap<TLSSocket, HostCertificate | null>();
  readonly #sockets = new Map<string, Set<TLSSocket>>();
  readonly #told = new Map<string, number>();

  constructor(parts: { authorities: Authorities; identities: Identities; now: () => number; tell: Tell }) {
    this.#authorities = parts.authorities;
    this.#identities = parts.identities;
    this.#now = parts.now;
    this.#tell = parts.tell;
  }

  /** Null: none of ours, or one that counts no more. Asked anew for every request, so that a revoked one is out at once. */
  certificateOf({ socket }: Pick<IncomingMessage, "socket">): HostCertificate | null {
    if (!(socket instanceof TLSSocket)) return null;
    const certificate = this.#read(socket);
    if (certificate === null) return null;
    const now = this.#now();
    // What issued it may have been retired since the handshake.
    const stands = this.#authorities.standing.some(({ authority }) => authority.pin === certificate.issuer);
    const why = stands ? this.#identities.judge(certificate, now) : "certificate-unknown";
    if (why !== null) {
      this.#refused(certificate.host, socket.remoteAddress ?? "", why, now);
      return null;
    }
    this.#identities.shown(certificate, now);
    this.#remember(certificate.host, socket);
    return certificate;
  }

  /** Ends every connection that this host's certificates opened, once what was written is on its way. */
  cut(host: string): void {
    for (const socket of this.#sockets.get(host) ?? []) socket.destroySoon();
  }

  #read(socket: TLSSocket): HostCertificate | null {
    const known = this.#shown.get(socket);
    if (known !== undefined) return known;
    const read = this.#readOnce(socket);
    this.#shown.set(socket, read);
    return read;
  }

  #readOnce(socket: TLSSocket): HostCertificate | null {
    // OpenSSL has followed the chain, and looked at purposes and dates; what it calls good is looked at again, by name.
    if (!socket.authorized || socket.getProtocol() !== "TLSv1.3") return null;
    const shown = socket.getPeerX509Certificate();
    if (shown === undefined) return null;
    const authorities = this.#authorities.standing.map(({ authority }) => authority);
    try {
      return readHostCertificate(shown, this.#authorities.fleet, authorities);
    } catch (error) {
      // Our own authority issued it, and it is no host's: nothing that happens by itself.
      this.#refused(errorInfo(error).message, socket.remoteAddress ?? "", "certificate-unknown", this.#now());
      return null;
    }
  }

  #remember(host: string, socket: TLSSocket): void {
    const sockets = this.#sockets.get(host) ?? new Set();
    if (sockets.has(socket)) return;
    this.#sockets.set(host, sockets.add(socket));
    socket.once("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#sockets.get(host) === sockets) this.#sockets.delete(host);
    });
  }

  #refused(host: string, from: string, why: ReturnType<Identities["judge"]>, now: number): void {
    if (why === null) return;
    const key = `${host} ${from} ${why}`;
    if (now - (this.#told.get(key) ?? Number.NEGATIVE_INFINITY) < TELL_AGAIN_MS) return;
    if (this.#told.size >= MAX_TOLD) this.#told.clear();
    this.#told.set(key, now);
    void this.#tell({ type: "certificate-refused", host, from, why });
  }
}
