import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { BelayError } from "./error.js";
import type { LogState } from "./merkle-log.js";

/**
 * What a log says of itself: its name, how many entries it has, and their root; as a signed note (c2sp.org/signed-note,
 * c2sp.org/tlog-checkpoint). `key` is a line of ours: the key that will sign from now on, where the one before vouches for it.
 */
export interface Checkpoint extends LogState {
  /** The log's name, made once with the log. */
  readonly origin: string;
  readonly nextKey: string | null;
}

/** A checkpoint, and who signed it. */
export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The whole note. */
  readonly note: string;
  /** What was signed. */
  readonly body: string;
  readonly signatures: readonly { readonly name: string; readonly hash: Buffer; readonly signature: Buffer }[];
}

/** Who may sign a log's checkpoints: `name+hash+key`, as signed notes write it. */
export interface Verifier {
  readonly name: string;
  readonly hash: Buffer;
  /** The ed25519 key's 32 bytes. */
  readonly key: Buffer;
}

const ED25519 = 1;
/** Before the 32 bytes of an ed25519 key in DER. */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const NEXT_KEY = "belay-next-key ";
const MAX_NOTE_CHARS = 4096;

/** Writes and signs a checkpoint, by every key that is given. */
export function signCheckpoint(checkpoint: Checkpoint, keys: readonly KeyObject[]): string {
  const { origin, size, root, nextKey } = checkpoint;
  const more = nextKey === null ? "" : `${NEXT_KEY}${nextKey}\n`;
  const body = `${origin}\n${size}\n${root.toString("base64")}\n${more}`;
  const lines = keys.map((key) => {
    const { hash } = verifierOf(origin, key);
    return `\u2014 ${origin} ${Buffer.concat([hash, sign(null, Buffer.from(body), key)]).toString("base64")}\n`;
  });
  return `${body}\n${lines.join("")}`;
}

/** Reads a checkpoint; nothing of it is verified yet. Throws `checkpoint-malformed`. */
export function readCheckpoint(note: string): SignedCheckpoint {
  const cut = note.indexOf("\n\n");
  if (cut === -1 || note.length > MAX_NOTE_CHARS || !note.endsWith("\n")) throw malformed("it is no signed note");
  const body = note.slice(0, cut + 1);
  const [origin = "", sizeText = "", rootText = "", ...more] = body.slice(0, -1).split("\n");
  const root = bytesOf(rootText);
  if (origin === "" || !/^(?:0|[1-9][0-9]{0,15})$/.test(sizeText) || root?.length !== 32) {
    throw malformed("it does not say a name, a size and a root");
  }
  const signatures = note
    .slice(cut + 2, -1)
    .split("\n")
    .map((line) => {
      const [, name, text] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
      const bytes = bytesOf(text ?? "");
      if (name === undefined || bytes === null || bytes.length < 5) throw malformed("a signature can't be read");
      return { name, hash: bytes.subarray(0, 4), signature: bytes.subarray(4) };
    });
  const next = more.find((line) => line.startsWith(NEXT_KEY));
  return {
    checkpoint: { origin, size: Number(sizeText), root, nextKey: next?.slice(NEXT_KEY.length) ?? null },
    note,
    body,
    signatures,
  };
}

/** True if this key signed it, for a log of this name. */
export function isSignedBy({ checkpoint, body, signatures }: SignedCheckpoint, verifier: Verifier): boolean {
  if (verifier.name !== checkpoint.origin) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI, verifier.key]), format: "der", type: "spki" });
  return signatures.some(
    ({ name, hash, signature }) =>
      name === verifier.name && hash.equals(verifier.hash) && verify(null, Buffer.from(body), key, signature),
  );
}

/** Who signs with this key, private or public, under this name. */
export function verifierOf(name: string, key: KeyObject): Verifier {
  const open = key.type === "private" ? createPublicKey(key) : key;
  return namedVerifier(name, open.export({ format: "der", type: "spki" }).subarray(SPKI.length));
}

/** The same key under a log's name. */
export function namedVerifier(name: string, key: Buffer): Verifier {
  const typed = Buffer.concat([Buffer.of(ED25519), key]);
  const hash = createHash("sha256").update(`${name}\n`).update(typed).digest().subarray(0, 4);
  return { name, hash, key };
}

export function writeVerifier({ name, hash, key }: Verifier): string {
  return `${name}+${hash.toString("hex")}+${Buffer.concat([Buffer.of(ED25519), key]).toString("base64")}`;
}

/** Reads `name+hash+key`. Throws `verifier-malformed`. */
export function readVerifier(text: string): Verifier {
  const [, name, hash, key] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text) ?? [];
  const typed = bytesOf(key ?? "");
  if (name !== undefined && typed?.length === 33 && typed[0] === ED25519) {
    const verifier = namedVerifier(name, typed.subarray(1));
    if (verifier.hash.toString("hex") === hash) return verifier;
  }
  throw new BelayError("verifier-malformed", "this is no key of an audit log", {
    hint: "It looks like belay-audit-1f2e3d4c+5a6b7c8d+AT...: the file `key` beside belayd's audit log holds it.",
  });
}

/** Strictly: what encodes differently was not written by us. */
function bytesOf(base64: string): Buffer | null {
  const bytes = Buffer.from(base64, "base64");
  return bytes.length > 0 && bytes.toString("base64") === base64 ? bytes : null;
}

function malformed(why: string): BelayError {
  return new BelayError("checkpoint-malformed", `this is no checkpoint of an audit log: ${why}`);
}
