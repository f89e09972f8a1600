import { BelayError } from "@belay/shared";
import type { AuthorityView } from "../api/contract.js";
import type { IdentityRow } from "../store/identities.js";
import type { JoinTokenStore } from "../store/join-tokens.js";
import type { Authorities } from "./authorities.js";
import type { Tell } from "./event.js";
import type { Identities } from "./identities.js";
import type { ServerCertificate } from "./server-certificate.js";

/** How a new authority takes an old one's place, phase by phase, with no host lost that nobody named. */
export class Rotation {
  readonly #authorities: Authorities;
  readonly #tokens: JoinTokenStore;
  readonly #identities: Identities;
  readonly #server: ServerCertificate;
  readonly #now: () => number;
  readonly #tell: Tell;
  readonly #announce: () => void;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    authorities: Authorities;
    tokens: JoinTokenStore;
    identities: Identities;
    server: ServerCertificate;
    now: () => number;
    tell: Tell;
    /** Tells all connected hosts whom to trust. */
    announce: () => void;
  }) {
    this.#authorities = parts.authorities;
    this.#tokens = parts.tokens;
    this.#identities = parts.identities;
    this.#server = parts.server;
    this.#now = parts.now;
    this.#tell = parts.tell;
    this.#announce = parts.announce;
  }

  /** The active one first. */
  show(): AuthorityView[] {
    const hosts = this.#concerned();
    const active = this.#authorities.standing.filter(({ phase }) => phase === "active");
    const others = this.#authorities.standing.filter(({ phase }) => phase !== "active");
    return [...active, ...others].map(({ authority, phase, since }) => {
      const { pin, validUntil, certificate } = authority;
      const without = hosts.filter((host) => !trusts(host, pin)).map(({ host }) => host);
      return {
        pin,
        phase,
        since,
        validUntil,
        certificate,
        trustedBy: hosts.length - without.length,
        notTrustedBy: without,
        issuedTo: hosts.filter(({ issuer }) => issuer === pin).map(({ host }) => host),
      };
    });
  }

  /** First phase: a new authority, which hosts are told to trust. Throws `rotation-open`. */
  rotate(by: string): Promise<void> {
    return this.#alone(async () => {
      await this.#authorities.rotate(this.#now());
      await this.#spread();
      await this.#tell({ type: "ca-made", pin: this.#authorities.other?.authority.pin ?? "", by });
    });
  }

  /**
   * Second phase: certificates come from it, belayd's own at once. Throws `hosts-would-be-lost`, naming those that don't
   * trust it yet and are not in `lose`, or `rotation-missing`. Tokens that nobody has used yet end: whose those were.
   */
  activate(by: string, lose: readonly string[]): Promise<{ tokensEnded: string[] }> {
    return this.#alone(async () => {
      const { other } = this.#authorities;
      if (other?.phase === "next") {
        const { pin } = other.authority;
        await this.#mustNotLose((host) => trusts(host, pin), lose, "don't trust the new authority yet", by);
      }
      await this.#authorities.activate(this.#now());
      const { pin } = this.#authorities.active;
      const tokensEnded = await this.#tokens.endOthers(pin, this.#now());
      await this.#spread();
      await this.#tell({ type: "ca-activated", pin, by });
      return { tokensEnded };
    });
  }

  /**
   * Last phase: the old one is trusted no more. Of a rotation that was not activated, the new one goes, and nobody is lost.
   * Throws `hosts-would-be-lost`, naming those that still show its certificates and are not in `lose`.
   */
  retire(by: string, lose: readonly string[]): Promise<void> {
    return this.#alone(async () => {
      const { other } = this.#authorities;
      if (other?.phase === "trusted") {
        const { pin } = other.authority;
        await this.#mustNotLose(
          ({ issuer }) => issuer !== null && issuer !== pin,
          lose,
          "still need the old authority",
          by,
        );
      }
      const { authority } = await this.#authorities.retire();
      await this.#spread();
      await this.#tell({ type: "ca-retired", pin: authority.pin, by });
    });
  }

  /** Those that have something to lose: an identity that is not revoked and not long over. */
  #concerned(): IdentityRow[] {
    const now = this.#now();
    return this.#identities.all().filter(({ revoked, expiresAt }) => revoked === null && expiresAt > now);
  }

  async #mustNotLose(
    isSafe: (host: IdentityRow) => boolean,
    lose: readonly string[],
    what: string,
    by: string,
  ): Promise<void> {
    const lost = this.#concerned()
      .filter((host) => !isSafe(host))
      .map(({ host }) => host);
    const unnamed = lost.filter((host) => !lose.includes(host));
    if (unnamed.length > 0) {
      const some = unnamed.slice(0, 5).join(", ");
      throw new BelayError(
        "hosts-would-be-lost",
        `${unnamed.length} hosts ${what}: ${some}${unnamed.length > 5 ? " ..." : ""}`,
        {
          hint: "Wait until they have connected, or name those that may be lost: --lose HOST. They join again with a new token.",
          context: { hosts: unnamed.slice(0, 1_000) },
        },
      );
    }
    if (lost.length > 0) await this.#tell({ type: "hosts-lost", hosts: lost, by });
  }

  async #spread(): Promise<void> {
    await this.#server.renew();
    this.#announce();
  }

  /** One at a time: two people who rotate at once do it one after the other, and the second is told. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => {});
    return done;
  }
}

function trusts({ trusts }: IdentityRow, pin: string): boolean {
  return trusts?.includes(pin) ?? false;
}
