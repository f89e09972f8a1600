import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import {
  BelayError,
  BINDING_BYTES,
  BINDING_LABEL,
  type Issued,
  type JoinRequest,
  proofText,
  type RenewRequest,
  writeJoinToken,
} from "@belay/shared";
import type { IdentityRow } from "../store/identities.js";
import type { JoinTokenStore, RefusedJoin } from "../store/join-tokens.js";
import type { Authorities } from "./authorities.js";
import { isP256 } from "./authority.js";
import type { IdentityEvent, Tell } from "./event.js";
import type { Identities } from "./identities.js";
import type { Peers } from "./peers.js";
import { writeSerial } from "./serial.js";

/** In words for the host's owner. Not whether a token was of use to somebody else: that is for belayd's own people. */
const REFUSALS: Readonly<Record<RefusedJoin, string>> = {
  "token-unknown": "this token is not valid",
  "token-host-mismatch": "this token was made for another host",
  "token-used": "this token has been used: it is good for one host and one key",
  "token-expired": "this token has expired",
  "token-ended": "this token was taken back, or replaced by a newer one",
  "identity-revoked": "the identity that began with this token was revoked",
};

type Request = Pick<IncomingMessage, "socket">;

/** How hosts come by certificates: the first by a token, the next by the one before. */
export class Enrolment {
  readonly #authorities: Authorities;
  readonly #tokens: JoinTokenStore;
  readonly #identities: Identities;
  readonly #peers: Peers;
  readonly #lifeMs: number;
  readonly #now: () => number;
  readonly #tell: Tell;

  constructor(parts: {
    authorities: Authorities;
    tokens: JoinTokenStore;
    identities: Identities;
    peers: Peers;
    lifeMs: number;
    now: () => number;
    tell: Tell;
  }) {
    this.#authorities = parts.authorities;
    this.#tokens = parts.tokens;
    this.#identities = parts.identities;
    this.#peers = parts.peers;
    this.#lifeMs = parts.lifeMs;
    this.#now = parts.now;
    this.#tell = parts.tell;
  }

  /** A token for one host: shown now and never again. One of this host that was not used ends. */
  async createToken(host: string, ttlMs: number, by: string): Promise<{ token: string; expiresAt: number }> {
    const secret = randomBytes(32).toString("base64url");
    const { pin } = this.#authorities.active;
    const at = this.#now();
    const expiresAt = at + ttlMs;
    await this.#tokens.create({ host, secretHash: digest(secret), pin, at, by, expiresAt });
    await this.#tell({ type: "join-token-created", host, by, expiresAt });
    return { token: writeJoinToken({ fleet: this.#authorities.fleet, pin, secret }), expiresAt };
  }

  /**
   * The first certificate of a life. `began` hears of it before anybody else, when it is on disk: what this host had before
   * is over. Throws a `RefusedJoin`, `proof-wrong`, `key-unfit` or `tls-needed`.
   */
  async join(request: Request, asked: JoinRequest, began: (host: string) => void): Promise<Issued> {
    const { secret, host } = asked;
    const from = request.socket.remoteAddress ?? "";
    const key = this.#provenKey(request, { ...asked, purpose: "join" });
    const now = this.#now();
    const redeemed = await this.#tokens.redeem({
      secretHash: digest(secret),
      host,
      key: digest(key),
      from,
      at: now,
      certificateUntil: now + this.#lifeMs,
      trusts: this.#authorities.standing.map(({ authority }) => authority.pin),
    });
    if (!redeemed.ok) {
      const { why, owner } = redeemed;
      void this.#tell({ type: "join-refused", host, from, why, owner });
      throw new BelayError(why, REFUSALS[why], { hint: `make a new one: belay agent token create --host ${host}` });
    }
    const { identity } = redeemed;
    this.#identities.began(identity);
    if (redeemed.first) {
      began(host);
      await this.#tell({ type: "host-joined", host, from, generation: identity.generation });
    } else {
      const { generation, issued: sequence } = identity;
      await this.#tell({ type: "join-repeated", host, from, generation, sequence });
    }
    return this.#certify(identity, key, now);
  }

  /** The next certificate, for the next key. Throws `certificate-revoked`, `proof-wrong`, `key-unfit` or `unauthorized`. */
  async renew(request: Request, asked: RenewRequest): Promise<Issued> {
    const present = this.#peers.certificateOf(request);
    if (present === null) throw new BelayError("unauthorized", "a certificate is renewed by showing the one before");
    const { host } = present;
    const key = this.#provenKey(request, { ...asked, host, purpose: "renew" });
    const now = this.#now();
    const row = await this.#identities.issue(present, now + this.#lifeMs);
    await this.#tell({
      type: "certificate-renewed",
      host,
      from: request.socket.remoteAddress ?? "",
      sequence: row.issued,
    });
    return this.#certify(row, key, now);
  }

  async #certify({ host, generation, issued }: IdentityRow, key: Buffer, now: number): Promise<Issued> {
    const { active, certificates, fleet } = this.#authorities;
    const serial = writeSerial({ generation, sequence: issued });
    const certificate = await active.issueHost({ fleet, host, key, serial, now, lifeMs: this.#lifeMs });
    const vouch = this.#authorities.vouch(now);
    return { certificate, lifeMs: this.#lifeMs, authorities: certificates, issuer: active.pin, vouch };
  }

  /** The key, when its owner has shown on this very connection that it has the other half. */
  #provenKey(
    { socket }: Request,
    asked: { purpose: "join" | "renew"; host: string; key: string; proof: string },
  ): Buffer {
    if (!(socket instanceof TLSSocket)) {
      throw new BelayError("tls-needed", "identities are given out over TLS alone", {
        hint: "open a door with `tls` in belayd.yaml, and let `controller` in agent.yaml lead there",
      });
    }
    const { purpose, host, key } = asked;
    const refuse = (why: "proof-wrong" | "key-unfit", message: string) => {
      const event: IdentityEvent = { type: "join-refused", host, from: socket.remoteAddress ?? "", why, owner: null };
      void this.#tell(event);
      return new BelayError(why, message);
    };
    const der = Buffer.from(key, "base64");
    const publicKey = readKey(der);
    if (publicKey === null) throw refuse("key-unfit", "the key is no ECDSA key on P-256");
    const binding = socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0)).toString("base64");
    const text = proofText({ purpose, fleet: this.#authorities.fleet, host, key, binding });
    if (verify("sha256", Buffer.from(text), publicKey, Buffer.from(asked.proof, "base64"))) return der;
    throw refuse("proof-wrong", "the proof was not made with this key, for this connection");
  }
}

function readKey(der: Buffer) {
  try {
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    // Written anew: what follows the key in these bytes, or another way to write the same, is not the key.
    return isP256(key) && key.export({ type: "spki", format: "der" }).equals(der) ? key : null;
  } catch {
    return null;
  }
}

/** Secrets are random and long: a plain digest is enough at rest, and can be looked up by index. */
function digest(what: string | Buffer): string {
  return createHash("sha256").update(what).digest("hex");
}
