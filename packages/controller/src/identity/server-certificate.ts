import { generateKeyPairSync } from "node:crypto";
import type { Authorities } from "./authorities.js";

const LIFE_MS = 7 * 24 * 3_600_000;

/** What the agents' door shows, and whose certificates it believes. PEM. */
export interface ShownIdentity {
  readonly certificate: string;
  /** Of this process alone: nothing of it is ever on a disk. */
  readonly key: string;
  readonly trusted: readonly string[];
}

/**
 * belayd's own certificate: issued at the start by its own authority, and anew at two thirds of its life, with a new key
 * each time. The authority's certificate goes with it, so that who has but its pin can find it.
 */
export class ServerCertificate {
  readonly #authorities: Authorities;
  readonly #names: () => readonly string[];
  readonly #now: () => number;
  readonly #failed: (error: unknown) => void;
  readonly #changed = new Set<(shown: ShownIdentity) => void>();
  #shown: ShownIdentity | null = null;
  #renewAt = 0;

  constructor(parts: {
    authorities: Authorities;
    names: () => readonly string[];
    now: () => number;
    /** What was tried in vain; the certificate that is shown goes on for a third of its life. */
    failed: (error: unknown) => void;
  }) {
    this.#authorities = parts.authorities;
    this.#names = parts.names;
    this.#now = parts.now;
    this.#failed = parts.failed;
  }

  /** What is shown now; made if there is none. */
  async current(): Promise<ShownIdentity> {
    return this.#shown ?? this.renew();
  }

  /** Hears of each one that comes after the present one. */
  onChange(hear: (shown: ShownIdentity) => void): void {
    this.#changed.add(hear);
  }

  /** Another one now, for instance because the authority is another. */
  async renew(): Promise<ShownIdentity> {
    const now = this.#now();
    const { active, certificates, fleet } = this.#authorities;
    const { publicKey, privateKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      publicKeyEncoding: { type: "spki", format: "der" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    const issued = await active.issueServer({ fleet, names: this.#names(), key: publicKey, now, lifeMs: LIFE_MS });
    this.#renewAt = now + (LIFE_MS * 2) / 3;
    const shown = { certificate: issued + active.certificate, key: privateKey, trusted: certificates };
    this.#shown = shown;
    for (const hear of this.#changed) hear(shown);
    return shown;
  }

  /** Renews when it is time. Idempotent. */
  async look(): Promise<void> {
    if (this.#now() < this.#renewAt) return;
    await this.renew().then(undefined, this.#failed);
  }
}
