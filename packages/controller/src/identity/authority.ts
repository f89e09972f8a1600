import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { BelayError, CLIENT_AUTH, controllerUri, hostUri, SERVER_AUTH } from "@belay/shared";
import { otherSerial } from "./serial.js";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as ParsedCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "./x509.js";

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const AUTHORITY_LIFE_MS = 10 * 365 * 24 * 3_600_000;
/** Clocks differ: what is issued now is valid for one that is this much behind. */
const BACKDATED_MS = 3_600_000;

/** PEM of a certificate and of its key (PKCS #8). */
export interface CertifiedKey {
  readonly certificate: string;
  readonly key: string;
}

/** Who vouches for hosts and for belayd: a certificate, and the key that issues with it. */
export class Authority {
  /** SHA-256 of its public key (SubjectPublicKeyInfo), hex: its name everywhere. */
  readonly pin: string;
  readonly certificate: string;
  readonly validUntil: number;
  readonly #x509: X509Certificate;
  readonly #parsed: ParsedCertificate;
  readonly #key: IssuingKey | null;

  private constructor(certificate: string, key: IssuingKey | null) {
    this.#x509 = new X509Certificate(certificate);
    this.#parsed = new ParsedCertificate(this.#x509.raw);
    this.certificate = this.#x509.toString();
    this.validUntil = Date.parse(this.#x509.validTo);
    this.pin = pinOf(this.#x509.publicKey);
    this.#key = key;
  }

  /** A new one, with a new key. */
  static async make(now: number): Promise<CertifiedKey> {
    const keys = await webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
    const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const made = await X509CertificateGenerator.createSelfSigned({
      serialNumber: otherSerial(),
      // Two that succeed each other must not look alike: chains are built by name.
      name: [{ CN: [`Belay authority ${pinOf(createPublicKey(key)).slice(0, 16)}`] }],
      notBefore: new Date(now - BACKDATED_MS),
      notAfter: new Date(now + AUTHORITY_LIFE_MS),
      signingAlgorithm: ECDSA,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return { certificate: made.toString("pem"), key: key.export({ type: "pkcs8", format: "pem" }).toString() };
  }

  /**
   * `key` null: one that is still trusted, and issues no more. Throws `ca-invalid` for what can't be an authority here:
   * another kind of key, no right to issue, or a key that belongs to something else.
   */
  static async read({ certificate, key }: { certificate: string; key: string | null }): Promise<Authority> {
    try {
      const x509 = new X509Certificate(certificate);
      if (!x509.ca) throw new Error("the certificate is no authority's (CA:TRUE)");
      if (!isP256(x509.publicKey)) throw new Error("its key is not ECDSA P-256");
      const usages = new ParsedCertificate(x509.raw).getExtension(KeyUsagesExtension)?.usages;
      if (usages !== undefined && (usages & KeyUsageFlags.keyCertSign) === 0) throw new Error("it may not issue");
      return new Authority(certificate, key === null ? null : await importKey(x509, key));
    } catch (cause) {
      throw new BelayError("ca-invalid", (cause as Error).message, {
        hint: "An authority has a P-256 certificate with CA:TRUE, and its key, both PEM.",
        cause,
      });
    }
  }

  /** True if this one issued it, by name and by signature. */
  issued(certificate: X509Certificate): boolean {
    return certificate.checkIssued(this.#x509) && certificate.verify(this.#x509.publicKey);
  }

  /** For one host's key (SubjectPublicKeyInfo, DER), as a client alone. */
  issueHost(what: { fleet: string; host: string; key: Buffer; serial: string; now: number; lifeMs: number }) {
    const names: JsonGeneralNames = [{ type: "url", value: hostUri(what.fleet, what.host) }];
    return this.#issue({ ...what, commonName: what.host, names, purpose: CLIENT_AUTH });
  }

  /** For belayd's own door, as a server alone. `names` are those that agents dial. */
  issueServer(what: { fleet: string; names: readonly string[]; key: Buffer; now: number; lifeMs: number }) {
    const names: JsonGeneralNames = [
      { type: "url", value: controllerUri(what.fleet) },
      ...what.names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
    ];
    return this.#issue({ ...what, serial: otherSerial(), commonName: "belayd", names, purpose: SERVER_AUTH });
  }

  /** Stands behind a text that can't be taken for a certificate. DER in base64. Throws `ca-key-missing`. */
  vouch(text: string): string {
    return sign("sha256", Buffer.from(text), this.#mustHold().key).toString("base64");
  }

  #mustHold(): IssuingKey {
    if (this.#key !== null) return this.#key;
    throw new BelayError("ca-key-missing", `the key of authority ${this.pin} is not here`);
  }

  async #issue(what: {
    commonName: string;
    names: JsonGeneralNames;
    purpose: string;
    key: Buffer;
    serial: string;
    now: number;
    lifeMs: number;
  }): Promise<string> {
    const { issuing } = this.#mustHold();
    const publicKey = await webcrypto.subtle.importKey("spki", what.key, ECDSA, true, ["verify"]);
    const extensions: Extension[] = [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([what.purpose], true),
      new SubjectAlternativeNameExtension(what.names),
      await AuthorityKeyIdentifierExtension.create(this.#parsed.publicKey),
    ];
    const certificate = await X509CertificateGenerator.create({
      serialNumber: what.serial,
      subject: [{ CN: [what.commonName] }],
      issuer: this.#parsed.subjectName,
      notBefore: new Date(what.now - BACKDATED_MS),
      notAfter: new Date(Math.min(what.now + what.lifeMs, this.validUntil)),
      signingAlgorithm: ECDSA,
      publicKey,
      signingKey: issuing,
      extensions,
    });
    return `${certificate.toString("pem")}\n`;
  }
}

/** SHA-256 of a public key's SubjectPublicKeyInfo, hex. */
export function pinOf(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}

/** One key, in the two forms that libraries want. */
interface IssuingKey {
  readonly key: KeyObject;
  readonly issuing: webcrypto.CryptoKey;
}

async function importKey(certificate: X509Certificate, pem: string): Promise<IssuingKey> {
  const key = createPrivateKey(pem);
  if (!certificate.checkPrivateKey(key)) throw new Error("the key belongs to another certificate");
  const der = key.export({ type: "pkcs8", format: "der" });
  return { key, issuing: await webcrypto.subtle.importKey("pkcs8", der, ECDSA, false, ["sign"]) };
}
