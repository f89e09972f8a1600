import { createHash } from "node:crypto";
import { BelayError } from "../error.js";
import { parsePublicKey, type SshPublicKey } from "./public-key.js";
import { SshReader, sshString, sshUint32, strictBase64 } from "./wire.js";

/**
 * SSH signatures of files, as `ssh-keygen -Y sign` makes and `ssh-keygen -Y verify` checks them (OpenSSH's
 * PROTOCOL.sshsig). The namespace is signed too, so that a signature for one purpose is worth nothing for another.
 */
export interface SshSignature {
  readonly key: SshPublicKey;
  readonly namespace: string;
  readonly hash: "sha256" | "sha512";
  readonly signature: Buffer;
}

const MAGIC = Buffer.from("SSHSIG");
const VERSION = 1;
const BEGIN = "-----BEGIN SSH SIGNATURE-----";
const END = "-----END SSH SIGNATURE-----";
/** As OpenSSH breaks its lines. */
const LINE = 70;

/** Larger is no signature that anybody's key makes. */
export const MAX_SIGNATURE_TEXT = 8192;

/** Reads an armored signature. Throws `ssh-malformed`, or `ssh-key-refused` for a kind of key that Belay does not take. */
export function parseSignature(armored: string): SshSignature {
  if (armored.length > MAX_SIGNATURE_TEXT) throw new BelayError("ssh-malformed", "the SSH signature is too long");
  const lines = armored.trimEnd().split(/\r?\n/);
  const blob = lines[0] === BEGIN && lines.at(-1) === END ? strictBase64(lines.slice(1, -1).join("")) : null;
  if (blob === null) throw new BelayError("ssh-malformed", "that is not an armored SSH signature");
  const reader = new SshReader(blob, "SSH signature");
  if (!reader.bytes(MAGIC.length).equals(MAGIC)) throw reader.bad("is not one");
  if (reader.uint32() !== VERSION) throw reader.bad("has a version that is not known");
  const key = parsePublicKey(reader.string());
  const namespace = reader.text();
  if (reader.string().length > 0) throw reader.bad("has something in its reserved field");
  const hash = reader.text();
  if (hash !== "sha256" && hash !== "sha512") throw reader.bad("is made over a digest that is not taken");
  const signature = reader.string();
  reader.end();
  return { key, namespace, hash, signature };
}

/** The text around a signature's bytes. */
export function armor({ key, namespace, hash, signature }: SshSignature): string {
  const blob = Buffer.concat([
    MAGIC,
    sshUint32(VERSION),
    sshString(key.blob),
    sshString(namespace),
    sshString(""),
    sshString(hash),
    sshString(signature),
  ]);
  const lines = blob.toString("base64").match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
  return `${[BEGIN, ...lines, END].join("\n")}\n`;
}

/** What a key really signs: the purpose, and the message's digest. */
export function signedBytes(message: string | Uint8Array, namespace: string, hash: "sha256" | "sha512"): Buffer {
  const digest = createHash(hash).update(message).digest();
  return Buffer.concat([MAGIC, sshString(namespace), sshString(""), sshString(hash), sshString(digest)]);
}

/**
 * The key that signed this very message in this namespace. Whether it is anybody's to trust is the caller's question.
 * Throws `signature-invalid`, `ssh-malformed`, `ssh-key-refused`.
 */
export function verifySignature(message: string | Uint8Array, armored: string, namespace: string): SshPublicKey {
  const signature = parseSignature(armored);
  if (signature.namespace !== namespace) {
    throw new BelayError(
      "signature-invalid",
      `it was signed for "${signature.namespace.slice(0, 64)}", not for "${namespace}"`,
    );
  }
  if (signature.key.verifies(signedBytes(message, namespace, signature.hash), signature.signature)) {
    return signature.key;
  }
  throw new BelayError("signature-invalid", `it is not ${signature.key.fingerprint}'s signature of this text`);
}
