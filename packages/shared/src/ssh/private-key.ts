import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { BelayError } from "../error.js";
import { parsePublicKey, SSH_CURVES, type SshPublicKey } from "./public-key.js";
import { armor, signedBytes } from "./signature.js";
import { SshReader, sshMpint, sshString } from "./wire.js";

/** A private key in OpenSSH's own file format, with no passphrase. */
export interface SshPrivateKey {
  readonly key: SshPublicKey;
  /** The signature of these bytes as it stands in an SSHSIG: algorithm, then what it makes. */
  sign(data: Buffer): Buffer;
}

const MAGIC = Buffer.from("openssh-key-v1\0");

/**
 * Reads a private key's file. Throws `ssh-key-encrypted` for one with a passphrase and `ssh-key-refused` for other kinds:
 * ssh-keygen, which asks for the passphrase or speaks to the hardware, signs with those.
 */
export function parsePrivateKey(text: string): SshPrivateKey {
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/.exec(
    text,
  );
  if (body === null) throw new BelayError("ssh-key-refused", "that is not a private key in OpenSSH's own format");
  const reader = new SshReader(Buffer.from(body[1] ?? "", "base64"), "SSH private key");
  if (!reader.bytes(MAGIC.length).equals(MAGIC)) throw reader.bad("is not one");
  const [cipher, kdf] = [reader.text(), reader.text()];
  reader.string();
  if (cipher !== "none" || kdf !== "none") {
    throw new BelayError("ssh-key-encrypted", "the private key has a passphrase");
  }
  if (reader.uint32() !== 1) throw reader.bad("holds more than one key");
  const key = parsePublicKey(reader.string());
  const secret = new SshReader(reader.string(), "SSH private key");
  // Written twice, so that whoever decrypts sees whether the passphrase was right.
  const check = secret.uint32();
  if (secret.uint32() !== check) throw secret.bad("is damaged");
  const type = secret.text();
  if (type !== key.type) throw secret.bad("is of another kind than its public half");
  return { key, sign: signerOf(type, secret) };
}

/** Signs a message for one purpose, and armors that as ssh-keygen does. */
export function signMessage(message: string | Uint8Array, key: SshPrivateKey, namespace: string): string {
  const signature = key.sign(signedBytes(message, namespace, "sha512"));
  return armor({ key: key.key, namespace, hash: "sha512", signature });
}

function signerOf(type: string, secret: SshReader): (data: Buffer) => Buffer {
  if (type === "ssh-ed25519") return ed25519(secret);
  if (type === "ssh-rsa") return rsa(secret);
  if (type.startsWith("ecdsa-sha2-")) return ecdsa(type, secret);
  throw new BelayError("ssh-key-refused", `the private half of a ${type} key is not in this file`);
}

function ed25519(secret: SshReader): (data: Buffer) => Buffer {
  const x = secret.string();
  const d = secret.string().subarray(0, 32);
  const key = keyOf({ kty: "OKP", crv: "Ed25519", x: x.toString("base64url"), d: d.toString("base64url") }, secret);
  return (data) => Buffer.concat([sshString("ssh-ed25519"), sshString(sign(null, data, key))]);
}

function ecdsa(type: string, secret: SshReader): (data: Buffer) => Buffer {
  const curve = SSH_CURVES[secret.text()];
  if (curve === undefined) throw secret.bad("names a curve that is not known");
  const { bytes, hash, jwk } = curve;
  const point = secret.string();
  const d = secret.mpint();
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)].map((half) => half.toString("base64url"));
  const scalar = Buffer.concat([Buffer.alloc(Math.max(0, bytes - d.length)), d]).toString("base64url");
  const key = keyOf({ kty: "EC", crv: jwk, x, y, d: scalar }, secret);
  return (data) => {
    const pair = sign(hash, data, { key, dsaEncoding: "ieee-p1363" });
    const signature = Buffer.concat([sshMpint(pair.subarray(0, bytes)), sshMpint(pair.subarray(bytes))]);
    return Buffer.concat([sshString(type), sshString(signature)]);
  };
}

function rsa(secret: SshReader): (data: Buffer) => Buffer {
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => secret.mpint()) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const less = (prime: Buffer) => Buffer.from(evenHex(numberOf(d) % (numberOf(prime) - 1n)), "hex");
  const members = { n, e, d, p, q, dp: less(p), dq: less(q), qi };
  const jwk = Object.fromEntries(Object.entries(members).map(([name, value]) => [name, value.toString("base64url")]));
  const key = keyOf({ kty: "RSA", ...jwk }, secret);
  return (data) => Buffer.concat([sshString("rsa-sha2-512"), sshString(sign("sha512", data, key))]);
}

function numberOf(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString("hex")}`);
}

function evenHex(value: bigint): string {
  const hex = value.toString(16);
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}

function keyOf(jwk: Record<string, string | undefined>, reader: SshReader): KeyObject {
  try {
    return createPrivateKey({ key: jwk, format: "jwk" });
  } catch {
    throw reader.bad("does not fit together");
  }
}
