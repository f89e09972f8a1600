import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  BelayError,
  GATE_NAMESPACE,
  parsePrivateKey,
  type SshPrivateKey,
  signMessage,
  verifySignature,
} from "@belay/shared";
import type { Outside } from "../outside.js";

/** Tried in this order where nobody names a key. */
const USUAL = ["id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"];

/**
 * The key that signs: as named, else BELAY_SIGNING_KEY, else the first of the usual ones in ~/.ssh. A public key's file means
 * the private one in ssh-agent. Throws `signing-key-missing`.
 */
export async function findKey(named: string | undefined, { env, home }: Outside): Promise<string> {
  const chosen = named ?? env.BELAY_SIGNING_KEY;
  const candidates = chosen === undefined ? USUAL.map((name) => join(home, ".ssh", name)) : [chosen];
  for (const file of candidates) if (await isThere(file)) return file;
  throw new BelayError(
    "signing-key-missing",
    chosen === undefined ? "there is no SSH key in ~/.ssh" : `there is no ${chosen}`,
    {
      hint: "Name one: --sign FILE, or BELAY_SIGNING_KEY. A .pub file means the key in ssh-agent.",
    },
  );
}

/**
 * The armored signature of a statement. A plain key's file signs here; one with a passphrase, in an agent or on hardware signs
 * through ssh-keygen, which asks for what it needs on the terminal. What comes out is verified before it goes anywhere.
 * Throws `signing-failed`.
 */
export async function signWith(file: string, text: string, outside: Outside): Promise<string> {
  const key = await readKey(file);
  const signature = key === null ? await byKeygen(file, text, outside) : signMessage(text, key, GATE_NAMESPACE);
  verifySignature(text, signature, GATE_NAMESPACE);
  return signature;
}

/** Null: not one that can be read without help. */
async function readKey(file: string): Promise<SshPrivateKey | null> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BelayError("signing-failed", (cause as Error).message, { cause });
  });
  try {
    return parsePrivateKey(text);
  } catch (error) {
    const helped = ["ssh-key-encrypted", "ssh-key-refused"];
    if (error instanceof BelayError && helped.includes(error.code)) return null;
    throw error;
  }
}

async function byKeygen(file: string, text: string, { run }: Outside): Promise<string> {
  const { code, output } = await run(["ssh-keygen", "-Y", "sign", "-n", GATE_NAMESPACE, "-f", file], text);
  if (code === 0) return output;
  throw new BelayError("signing-failed", `ssh-keygen could not sign with ${file}`, {
    hint: "What it says stands above. Is the key in ssh-agent, or the hardware plugged in?",
  });
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
