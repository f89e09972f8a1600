import { createPrivateKey, type KeyObject } from "node:crypto";
import { type Authorities, BelayError, type Issued } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { Logger } from "../log.js";
import { makeKey, pemOf } from "./enrol.js";
import { type HeldIdentity, IdentityFile } from "./identity-file.js";
import { believing, type TlsAccess } from "./peer.js";
import { areSame, knownOf, mustBeVouched } from "./vouched.js";

export interface HoldingOptions {
  /** Address of belayd's door, https. */
  base: string;
  host: string;
  stateDir: string;
  clock: Clock;
  log: Logger;
}

/** The identity that this host shows: always whole, and on disk first. */
export class Holding {
  readonly #options: HoldingOptions;
  readonly #file: IdentityFile;
  readonly #changed: () => void;
  #held: HeldIdentity | null = null;
  #issuing: string | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** `changed` is called when another certificate than before is held. */
  constructor(options: HoldingOptions, changed: () => void) {
    this.#options = options;
    this.#file = new IdentityFile(options.stateDir);
    this.#changed = changed;
  }

  /** Null: this host has not joined. */
  get held(): HeldIdentity | null {
    return this.#held;
  }

  /** Who issues now, if belayd has said so. */
  get issuing(): string | null {
    return this.#issuing;
  }

  /** Throws `not-joined`. */
  mustHold(): HeldIdentity {
    if (this.#held !== null) return this.#held;
    throw new BelayError("not-joined", "this host has not joined, and has no token that it could join with", {
      hint: NEW_TOKEN,
    });
  }

  /** What is shown to belayd of an identity, and whom it believes. */
  tlsOf({ authorities, fleet, certificate, key }: HeldIdentity): TlsAccess {
    return { ...believing(authorities, fleet, this.#options.base), cert: certificate, key };
  }

  /** Reads what is on disk: another process may have joined for us (`belay-agent join`). Throws `identity-damaged`. */
  async load(): Promise<void> {
    const held = await this.#file.read();
    if (held === null || held.certificate === this.#held?.certificate) return;
    const { host, log } = this.#options;
    if (held.host !== host) {
      log.warn({ joinedAs: held.host }, "this host joined by another name; it must join anew");
      return;
    }
    this.#held = held;
    this.#issuing = null;
    this.#changed();
  }

  /** The key to ask for the first certificate with, by the token of this digest. On disk: asked again, it is the same one. */
  async joiningKey(token: string): Promise<KeyObject> {
    const kept = await this.#file.joiningWith(token);
    if (kept !== null) return createPrivateKey(kept);
    const key = makeKey();
    await this.#file.writeJoining({ token, key: pemOf(key) });
    return key;
  }

  /** Holds what belayd has issued for `key`, and nothing that was held before. */
  async adopt(
    { fleet, host, token }: Pick<HeldIdentity, "fleet" | "host" | "token">,
    key: KeyObject,
    { certificate, authorities, issuer, lifeMs, vouch }: Issued,
  ): Promise<HeldIdentity> {
    const obtainedAt = this.#options.clock.now();
    const issued = { certificate, authorities, issuer, lifeMs, obtainedAt, vouchedAt: vouch.at };
    const held = { fleet, host, token, key: pemOf(key), ...issued };
    return this.#alone(async () => {
      await this.#file.write(held);
      this.#held = held;
      this.#issuing = issuer;
      this.#changed();
      return held;
    });
  }

  /**
   * Trusts these from now on. Gives the pins that are on disk when this settles. Without the word of one that is trusted
   * already it is no rotation: throws what `mustBeVouched` throws, and nothing changes.
   */
  trust({ certificates, issuing, vouch }: Authorities): Promise<string[]> {
    return this.#alone(async () => {
      const held = this.mustHold();
      const said = mustBeVouched({ certificates, issuing, vouch }, knownOf(held));
      this.#issuing = issuing;
      if (areSame(certificates, held.authorities)) return said;
      const next = { ...held, authorities: certificates, vouchedAt: vouch.at };
      await this.#file.write(next);
      this.#held = next;
      this.#options.log.info({ authorities: said }, "other authorities from now on");
      return said;
    });
  }

  /** One change of what is held at a time, each on disk before the next. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => {});
    return done;
  }
}

export const NEW_TOKEN = "put a new token into `tokenFile`: belay agent token create --host NAME";
