import { chmod, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, decoder, HostName, Sha256 } from "@belay/shared";
import Type, { type Static } from "typebox";
import { makeDir, orMissing, syncDir, writeDurably } from "../durable.js";

const closed = { additionalProperties: false } as const;

/** Who this host is to belayd. One file, replaced as one step: after a crash there is all of it, or what was before. */
const HeldIdentity = Type.Object(
  {
    fleet: Type.String({ minLength: 1 }),
    host: HostName,
    /** PEM. It never leaves this host. */
    key: Type.String({ minLength: 1 }),
    certificate: Type.String({ minLength: 1 }),
    /** Digest of the public key that issued it. */
    issuer: Sha256,
    /** Who may vouch for belayd. */
    authorities: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
    /** When, by belayd's clock, an authority stood behind these last. */
    vouchedAt: Type.Optional(Type.Integer()),
    /** By this host's clock, which may be wrong: how long it lasts was said in milliseconds. */
    obtainedAt: Type.Integer(),
    lifeMs: Type.Integer({ minimum: 1 }),
    /** Digest of the token that it began with, which is spent. */
    token: Sha256,
  },
  closed,
);
export type HeldIdentity = Static<typeof HeldIdentity>;

/** A key that asked for its first certificate, and perhaps got it: the answer may have been lost. */
const Joining = Type.Object({ token: Sha256, key: Type.String({ minLength: 1 }) }, closed);
type Joining = Static<typeof Joining>;

const decodeHeld = decoder(HeldIdentity, "identity", "identity-damaged");
const decodeJoining = decoder(Joining, "joining", "identity-damaged");

/** `stateDir/identity`: its folder is this user's alone, and no op may touch it (see allowed.ts). */
export class IdentityFile {
  readonly #dir: string;

  constructor(stateDir: string) {
    this.#dir = identityDir(stateDir);
  }

  /** Null: this host has not joined. Throws `identity-damaged`. */
  async read(): Promise<HeldIdentity | null> {
    return this.#read("current.json", decodeHeld);
  }

  /** On disk when this settles. The key that asked for it is part of it now. */
  async write(identity: HeldIdentity): Promise<void> {
    await this.#write("current.json", identity);
    await rm(join(this.#dir, "joining.json"), { force: true });
    await syncDir(this.#dir);
  }

  /** The key that has asked with this token before. */
  async joiningWith(token: string): Promise<string | null> {
    const joining = await this.#read("joining.json", decodeJoining);
    return joining?.token === token ? joining.key : null;
  }

  async writeJoining(joining: Joining): Promise<void> {
    await this.#write("joining.json", joining);
  }

  async #read<T>(name: string, decode: (value: unknown) => T): Promise<T | null> {
    const path = join(this.#dir, name);
    const text = await orMissing(readFile(path, "utf8"));
    if (text === null) return null;
    try {
      return decode(JSON.parse(text));
    } catch (cause) {
      throw new BelayError("identity-damaged", `${path}: ${(cause as Error).message}`, {
        hint: "remove it, and join again with a new token: belay agent token create",
        cause,
      });
    }
  }

  async #write(name: string, value: object): Promise<void> {
    await makeDir(this.#dir, 0o700);
    await chmod(this.#dir, 0o700);
    await writeDurably(join(this.#dir, name), `${JSON.stringify(value)}\n`, 0o600);
  }
}

export function identityDir(stateDir: string): string {
  return join(stateDir, "identity");
}
