import { chmod, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { authoritiesText, BelayError, decoder, Sha256, type Vouch } from "@belay/shared";
import Type, { type Static } from "typebox";
import { syncPath, writeSecretly } from "../durable.js";
import { Authority } from "./authority.js";

/**
 * `next`: made, handed out to be trusted, issues nothing. `active`: issues. `trusted`: issued what is still in use. There is
 * one active, and at most one of the others: a rotation is begun when the last one has ended.
 */
const Phase = Type.Union([Type.Literal("next"), Type.Literal("active"), Type.Literal("trusted")]);
export type Phase = Static<typeof Phase>;

const KeptFile = Type.Object(
  {
    /** The fleet's name when the first token was made: part of certificates' names, so it stays, whatever fleet.yaml says. */
    fleet: Type.String({ minLength: 1 }),
    authorities: Type.Array(
      Type.Object(
        { pin: Sha256, phase: Phase, since: Type.Integer(), given: Type.Boolean(), certificate: Type.String() },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 2 },
    ),
  },
  { additionalProperties: false },
);
type KeptFile = Static<typeof KeptFile>;
type Kept = KeptFile["authorities"][number];
const decodeKept = decoder(KeptFile, "authorities.json", "ca-damaged");

/** One that its owner brought along: the paths of PEM files, which stay where they are. */
export interface GivenAuthority {
  readonly certificate: string;
  readonly key: string;
}

export interface StandingAuthority {
  readonly authority: Authority;
  readonly phase: Phase;
  readonly since: number;
  /** Its key lies where belayd.yaml says, not in belayd's own folder. */
  readonly given: boolean;
}

/**
 * The authorities of this belayd, in a folder of their own: a key file each (0600), and one file that says which is in which
 * phase, replaced as one step. A crash leaves one phase or the next, and at worst a key that nobody knows.
 */
export class Authorities {
  readonly #dir: string;
  #fleet: string;
  #standing: readonly StandingAuthority[];

  private constructor(dir: string, fleet: string, standing: readonly StandingAuthority[]) {
    this.#dir = dir;
    this.#fleet = fleet;
    this.#standing = standing;
  }

  /**
   * Opens the folder; makes it, with an authority, at the first start. A given one that isn't known yet is the first, or
   * else the next: bringing one along begins a rotation. Throws `ca-damaged`, `ca-exposed`, `ca-invalid`, `ca-unreadable`.
   */
  static async open(options: {
    dir: string;
    fleet: string;
    given: GivenAuthority | null;
    now: number;
  }): Promise<Authorities> {
    const { dir, given, now } = options;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
    const brought = given === null ? null : await readGiven(given);
    const kept = await readKept(join(dir, "authorities.json"));
    const standing =
      kept === null ? [] : await Promise.all(kept.authorities.map((one) => readStanding(dir, one, brought)));
    const authorities = new Authorities(dir, kept?.fleet ?? options.fleet, standing);
    await authorities.#sweep();
    if (brought !== null && !standing.some(({ authority }) => authority.pin === brought.pin)) {
      await authorities.#add({ authority: brought, given: true }, now);
    } else if (standing.length === 0) await authorities.#make(now);
    return authorities;
  }

  /** What certificates call the fleet. */
  get fleet(): string {
    return this.#fleet;
  }

  /** For as long as no certificate and no token has carried the name out: a package's first start knows but an example. */
  async rename(fleet: string): Promise<void> {
    if (fleet === this.#fleet) return;
    this.#fleet = fleet;
    await this.#save(this.#standing);
  }

  get standing(): readonly StandingAuthority[] {
    return this.#standing;
  }

  get active(): Authority {
    const active = this.#standing.find(({ phase }) => phase === "active")?.authority;
    if (active === undefined) throw new BelayError("ca-damaged", `no authority in ${this.#dir} is the active one`);
    return active;
  }

  /** The one that is neither active nor gone. */
  get other(): StandingAuthority | null {
    return this.#standing.find(({ phase }) => phase !== "active") ?? null;
  }

  /** Their certificates, the active one's first. */
  get certificates(): string[] {
    return [
      this.active,
      ...this.#standing.filter(({ phase }) => phase !== "active").map(({ authority }) => authority),
    ].map(({ certificate }) => certificate);
  }

  /** The active one stands behind `certificates`. */
  vouch(now: number): Vouch {
    const { fleet, certificates } = this;
    const at = Math.round(now);
    return { at, signature: this.active.vouch(authoritiesText({ fleet, certificates, at })) };
  }

  /** Makes the next one. Throws `rotation-open` when the last rotation has not ended. */
  async rotate(now: number): Promise<void> {
    this.#mustBeAlone();
    await this.#make(now);
  }

  /** From now on the next one issues. Throws `rotation-missing`. */
  async activate(now: number): Promise<void> {
    if (this.other?.phase !== "next") {
      throw new BelayError("rotation-missing", "there is no next authority", {
        hint: "Make one first: belay ca rotate",
      });
    }
    await this.#save(
      this.#standing.map((one) => ({ ...one, phase: one.phase === "next" ? "active" : "trusted", since: now })),
    );
  }

  /** Drops the one that doesn't issue, its key with it. Throws `rotation-missing`. */
  async retire(): Promise<StandingAuthority> {
    const { other } = this;
    if (other === null) {
      throw new BelayError("rotation-missing", "there is one authority, and it is in use", {
        hint: "`belay ca show` says where a rotation stands.",
      });
    }
    await this.#save(this.#standing.filter((one) => one !== other));
    await this.#sweep();
    return other;
  }

  #mustBeAlone(): void {
    const { other } = this;
    if (other === null) return;
    throw new BelayError("rotation-open", `a rotation is under way: ${other.authority.pin} is ${other.phase}`, {
      hint: other.phase === "next" ? "Go on with it: belay ca activate" : "End it first: belay ca retire",
    });
  }

  async #make(now: number): Promise<void> {
    const made = await Authority.make(now);
    const authority = await Authority.read(made);
    await writeSecretly(keyFile(this.#dir, authority.pin), made.key);
    await this.#add({ authority, given: false }, now);
  }

  async #add(one: Pick<StandingAuthority, "authority" | "given">, now: number): Promise<void> {
    this.#mustBeAlone();
    const phase = this.#standing.length === 0 ? "active" : "next";
    await this.#save([...this.#standing, { ...one, phase, since: now }]);
  }

  async #save(standing: readonly StandingAuthority[]): Promise<void> {
    const authorities = standing.map(
      ({ authority, phase, since, given }): Kept => ({
        pin: authority.pin,
        phase,
        since,
        given,
        certificate: authority.certificate,
      }),
    );
    const file: KeptFile = { fleet: this.fleet, authorities };
    await writeSecretly(join(this.#dir, "authorities.json"), `${JSON.stringify(file, null, 2)}\n`);
    this.#standing = standing;
  }

  /** Keys of authorities that are gone, or that never came to be. */
  async #sweep(): Promise<void> {
    const known = new Set(this.#standing.map(({ authority }) => `${authority.pin}.key`));
    const over = (await readdir(this.#dir)).filter((name) => /^[0-9a-f]{64}\.key$/.test(name) && !known.has(name));
    for (const name of over) await rm(join(this.#dir, name));
    if (over.length > 0) await syncPath(this.#dir);
  }
}

function keyFile(dir: string, pin: string): string {
  return join(dir, `${pin}.key`);
}

async function readKept(path: string): Promise<KeptFile | null> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return null;
  try {
    return decodeKept(JSON.parse(text));
  } catch (cause) {
    throw new BelayError("ca-damaged", `${path}: ${(cause as Error).message}`, {
      hint: "Put the folder back from a backup: without it no agent knows this belayd.",
      cause,
    });
  }
}

async function readStanding(dir: string, kept: Kept, brought: Authority | null): Promise<StandingAuthority> {
  const { pin, phase, since, given, certificate } = kept;
  if (brought?.pin === pin) return { authority: brought, phase, since, given: true };
  // One that was brought along and is named no more goes on being trusted; that it issues no more, whoever asks it finds.
  const key = given ? null : await readSecret(keyFile(dir, pin));
  const authority = await Authority.read({ certificate, key });
  if (authority.pin === pin) return { authority, phase, since, given };
  throw new BelayError("ca-damaged", `${dir}: the certificate of authority ${pin} is another's`);
}

async function readGiven({ certificate, key }: GivenAuthority): Promise<Authority> {
  const pem = await readFile(certificate, "utf8").catch((cause: unknown) => {
    throw new BelayError("ca-unreadable", (cause as Error).message, {
      hint: "Correct `identity` in belayd.yaml.",
      cause,
    });
  });
  return Authority.read({ certificate: pem, key: await readSecret(key) });
}

/** Throws `ca-unreadable`, or `ca-exposed` when others on this machine may read it. */
async function readSecret(path: string): Promise<string> {
  const found = await Promise.all([readFile(path, "utf8"), stat(path)]).catch((cause: unknown) => {
    throw new BelayError("ca-unreadable", `an authority's key: ${(cause as Error).message}`, { cause });
  });
  const [text, { mode }] = found;
  if ((mode & 0o077) === 0) return text;
  throw new BelayError("ca-exposed", `${path} can be read by others on this machine`, {
    hint: `chmod 600 ${path}; if they may have read it, rotate: belay ca rotate`,
  });
}
