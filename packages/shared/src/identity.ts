import { createHash, X509Certificate } from "node:crypto";
import Type, { type Static } from "typebox";
import { BelayError } from "./error.js";
import { HostName, Sha256 } from "./ids.js";

/**
 * What both ends must agree on of who is who. A certificate names its holder by one URI, compared to the letter: nothing
 * in it is folded, decoded or matched by a pattern. `fleet` is the fleet's name as belayd had it when it made its authority.
 */
export function controllerUri(fleet: string): string {
  return `belay://${encodeURIComponent(fleet)}/controller`;
}

export function hostUri(fleet: string, host: string): string {
  return `belay://${encodeURIComponent(fleet)}/host/${host}`;
}

/** Purposes of certificates (RFC 5280): one has the first, the other has the second, none has both. */
export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/**
 * By this name (SNI) agents ask for the certificate that belayd's own authority issued, where the same door shows browsers
 * another one. It stands for nothing else: the name that must be in the certificate is that of agent.yaml.
 */
export const AGENTS_SERVER_NAME = "agents.belay.internal";

/** What a host that joins needs to know: whom to believe (the digest of the authority's public key), and its secret. */
export interface JoinToken {
  readonly fleet: string;
  /** SHA-256 of the authority's public key (SubjectPublicKeyInfo), hex. */
  readonly pin: string;
  /** Good for one key of one host. */
  readonly secret: string;
}

const PREFIX = "belay-join-1";
const SECRET = /^[A-Za-z0-9_-]{43}$/;
const PIN = /^[0-9a-f]{64}$/;

/** One word of printable characters. */
export function writeJoinToken({ fleet, pin, secret }: JoinToken): string {
  return [PREFIX, encodeURIComponent(fleet).replaceAll(".", "%2E"), pin, secret].join(".");
}

/** Throws `token-invalid`, and never repeats any of it. */
export function readJoinToken(text: string): JoinToken {
  const [prefix, fleet = "", pin = "", secret = "", ...more] = text.split(".");
  const name = decoded(fleet);
  if (prefix === PREFIX && more.length === 0 && PIN.test(pin) && SECRET.test(secret) && name !== null) {
    return { fleet: name, pin, secret };
  }
  throw new BelayError("token-invalid", "this is no token for joining", {
    hint: "make one where belay is: belay agent token create --host NAME",
  });
}

function decoded(text: string): string | null {
  try {
    return text === "" ? null : decodeURIComponent(text);
  } catch {
    return null;
  }
}

/**
 * What a host signs with its new key, to show that it has it. `binding` comes from the TLS connection itself (RFC 5705), so
 * that a signature which was seen elsewhere is worth nothing here.
 */
export function proofText(what: {
  purpose: "join" | "renew";
  fleet: string;
  host: string;
  key: string;
  binding: string;
}): string {
  return ["belay proof of possession 1", what.purpose, what.fleet, what.host, what.key, what.binding].join("\n");
}

export const BINDING_LABEL = "EXPORTER-belay-identity";
export const BINDING_BYTES = 32;

const Base64 = (maxLength: number) => Type.String({ pattern: "^[A-Za-z0-9+/]+={0,2}$", maxLength });
const closed = { additionalProperties: false } as const;

/** `POST /v1/agents/join`: of nobody yet. */
export const JoinRequest = Type.Object(
  {
    secret: Type.String({ pattern: SECRET.source }),
    host: HostName,
    /** SubjectPublicKeyInfo, DER in base64. */
    key: Base64(512),
    /** ECDSA over `proofText`, DER in base64. */
    proof: Base64(512),
  },
  closed,
);
export type JoinRequest = Static<typeof JoinRequest>;

/** `POST /v1/agents/renew`: of a host that shows the certificate it has. */
export const RenewRequest = Type.Object({ key: Base64(512), proof: Base64(512) }, closed);
export type RenewRequest = Static<typeof RenewRequest>;

/**
 * That the authority which issues stands behind a list of authorities: its signature (ECDSA, DER in base64) over
 * `authoritiesText`. So nobody names another to a host who has but a connection of belayd's, or belayd's own certificate.
 */
export const Vouch = Type.Object({ at: Type.Integer({ minimum: 0 }), signature: Base64(512) }, closed);
export type Vouch = Static<typeof Vouch>;

/** `at`: when it was signed, so that a list of before, with one in it that is no more to be believed, is known as that. */
export function authoritiesText(what: { fleet: string; certificates: readonly string[]; at: number }): string {
  const digests = what.certificates.map((pem) =>
    createHash("sha256").update(new X509Certificate(pem).raw).digest("hex"),
  );
  return ["belay authorities 1", encodeURIComponent(what.fleet), what.at, ...digests].join("\n");
}

const Pem = Type.String({ minLength: 1, maxLength: 16_384 });

/** A certificate for the key that was sent, and who may vouch for belayd. */
export const Issued = Type.Object(
  {
    certificate: Pem,
    /** From now: the host's clock may be wrong, and has no say in when to renew. */
    lifeMs: Type.Integer({ minimum: 1 }),
    authorities: Type.Array(Pem, { minItems: 1, maxItems: 16 }),
    /** The digest of the authority that issued it. */
    issuer: Sha256,
    vouch: Vouch,
  },
  closed,
);
export type Issued = Static<typeof Issued>;
