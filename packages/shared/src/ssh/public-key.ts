import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { BelayError } from "../error.js";
import { padded, SshReader } from "./wire.js";

/** An SSH public key that may sign for Belay. */
export interface SshPublicKey {
  readonly type: string;
  /** As it travels: what two keys are compared by. */
  readonly blob: Buffer;
  /** `SHA256:...`, as ssh-keygen -l says it. */
  readonly fingerprint: string;
  /** Is this signature (as it stands in an SSHSIG) of these bytes, by this key? False for an algorithm that is not the key's. */
  verifies(data: Buffer, signature: Buffer): boolean;
}

/** Signatures over SHA-1 are forgeable, and smaller keys are not what anybody should trust root to. */
export const MIN_RSA_BITS = 2048;

/** The curves of ECDSA keys, by the name that SSH has for them. */
export const SSH_CURVES: Readonly<Record<string, { jwk: string; bytes: number; hash: string }>> = {
  nistp256: { jwk: "P-256", bytes: 32, hash: "sha256" },
  nistp384: { jwk: "P-384", bytes: 48, hash: "sha384" },
  nistp521: { jwk: "P-521", bytes: 66, hash: "sha512" },
};

/** A person touched the key: without it, malware on their machine could sign. */
const USER_PRESENT = 0x01;

/** Reads a public key's blob. Throws `ssh-malformed`, or `ssh-key-refused` for a kind that Belay does not take. */
export function parsePublicKey(blob: Buffer): SshPublicKey {
  const reader = new SshReader(blob, "SSH public key");
  const type = reader.text();
  const verifies = kindOf(type, reader);
  reader.end();
  const fingerprint = `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
  return {
    type,
    blob: Buffer.from(blob),
    fingerprint,
    verifies(data, signature) {
      const part = new SshReader(signature, "SSH signature");
      const algorithm = part.text();
      return verifies(algorithm, data, part);
    },
  };
}

type Verify = (algorithm: string, data: Buffer, signature: SshReader) => boolean;

function kindOf(type: string, reader: SshReader): Verify {
  switch (type) {
    case "ssh-ed25519":
      return ed25519(type, reader);
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521":
      return ecdsa(type, reader);
    case "ssh-rsa":
      return rsa(reader);
    case "sk-ssh-ed25519@openssh.com":
      return onHardware(type, ed25519(type, reader), reader.text());
    case "sk-ecdsa-sha2-nistp256@openssh.com":
      return onHardware(type, ecdsa(type, reader), reader.text());
    default:
      throw new BelayError("ssh-key-refused", `keys of the kind ${type.slice(0, 64)} are not taken`, {
        hint: "Use ssh-ed25519, ecdsa-sha2-nistp256/384/521, rsa of 2048 bits or more, or a hardware key (sk-...).",
      });
  }
}

function ed25519(type: string, reader: SshReader): Verify {
  const point = reader.string();
  if (point.length !== 32) throw reader.bad("has an Ed25519 point that is not 32 bytes long");
  const key = keyOf({ kty: "OKP", crv: "Ed25519", x: point.toString("base64url") }, reader);
  return (algorithm, data, signature) => {
    const bytes = signature.string();
    if (algorithm !== type || bytes.length !== 64) return false;
    if (!type.startsWith("sk-")) signature.end();
    return verify(null, data, key, bytes);
  };
}

function ecdsa(type: string, reader: SshReader): Verify {
  const name = reader.text();
  const curve = SSH_CURVES[name];
  if (curve === undefined || !(type.endsWith(`-${name}`) || type.includes(`-${name}@`))) {
    throw reader.bad("names another curve than its kind");
  }
  const point = reader.string();
  const { bytes, hash, jwk } = curve;
  if (point.length !== 1 + 2 * bytes || point[0] !== 4) throw reader.bad("has a point in a form that is not taken");
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)].map((half) => half.toString("base64url"));
  const key = keyOf({ kty: "EC", crv: jwk, x, y }, reader);
  return (algorithm, data, signature) => {
    if (algorithm !== type) return false;
    const pair = new SshReader(signature.string(), "SSH signature");
    const [r, s] = [padded(pair.mpint(), bytes), padded(pair.mpint(), bytes)];
    pair.end();
    if (!type.startsWith("sk-")) signature.end();
    if (r === null || s === null) return false;
    return verify(hash, data, { key, dsaEncoding: "ieee-p1363" }, Buffer.concat([r, s]));
  };
}

const RSA_HASHES: Readonly<Record<string, string>> = { "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" };

function rsa(reader: SshReader): Verify {
  const exponent = reader.mpint();
  const modulus = reader.mpint();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < MIN_RSA_BITS) {
    throw new BelayError("ssh-key-refused", `an RSA key of ${bits} bits is too short: ${MIN_RSA_BITS} are needed`);
  }
  const key = keyOf({ kty: "RSA", n: modulus.toString("base64url"), e: exponent.toString("base64url") }, reader);
  return (algorithm, data, signature) => {
    const hash = RSA_HASHES[algorithm];
    const bytes = padded(signature.string(), modulus.length);
    signature.end();
    return hash !== undefined && bytes !== null && verify(hash, data, key, bytes);
  };
}

/** What a hardware key signs: which application, whether a person touched it, how often it has signed, and the digest. */
function onHardware(type: string, verifies: Verify, application: string): Verify {
  const digest = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest();
  return (algorithm, data, signature) => {
    if (algorithm !== type) return false;
    const inner = signature.string();
    const flagsAndCounter = signature.bytes(5);
    signature.end();
    if (((flagsAndCounter[0] ?? 0) & USER_PRESENT) === 0) return false;
    const signed = Buffer.concat([digest(application), flagsAndCounter, digest(data)]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(inner.length);
    return verifies(algorithm, signed, new SshReader(Buffer.concat([length, inner]), "SSH signature"));
  };
}

function keyOf(jwk: Record<string, string | undefined>, reader: SshReader): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: "jwk" });
  } catch {
    throw reader.bad("is no point or number of its kind");
  }
}
