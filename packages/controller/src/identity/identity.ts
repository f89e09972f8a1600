import { join } from "node:path";
import { type Authorities as AuthoritiesMessage, BelayError } from "@belay/shared";
import { IdentityStore } from "../store/identities.js";
import { JoinTokenStore } from "../store/join-tokens.js";
import type { Store } from "../store/sqlite.js";
import { Authorities, type GivenAuthority, type StandingAuthority } from "./authorities.js";
import { Enrolment } from "./enrolment.js";
import type { Tell } from "./event.js";
import { Identities } from "./identities.js";
import { Peers } from "./peers.js";
import { Rotation } from "./rotation.js";
import { ServerCertificate } from "./server-certificate.js";

const LOOK_EVERY_MS = 60_000;
const SAY_ANEW_MS = 1_000;

/** What a change of identity does to those who are connected. */
export interface Connected {
  isPresent(host: string): boolean;
  /** Ends a host's live connection, with the reason. */
  disconnect(host: string, error: { code: string; message: string }): void;
  /** Tells every host that came with a certificate whom to trust. */
  announce(message: AuthoritiesMessage): void;
}

/** Who is who: belayd's own authority, the hosts' identities, and what is shown at the door. */
export class Identity {
  readonly authorities: Authorities;
  readonly tokens: JoinTokenStore;
  readonly identities: Identities;
  readonly peers: Peers;
  readonly server: ServerCertificate;
  readonly enrolment: Enrolment;
  readonly rotation: Rotation;
  readonly #connected: Connected;
  readonly #now: () => number;
  readonly #tell: Tell;
  /** The last message of whom to trust, and what it was of. */
  #said: { standing: readonly StandingAuthority[]; fleet: string; message: AuthoritiesMessage } | null = null;
  #looking: NodeJS.Timeout | undefined;

  private constructor(
    parts: Omit<IdentityOptions, "dataDir" | "given" | "fleet">,
    authorities: Authorities,
    identities: Identities,
  ) {
    const { store, connected, now, tell, failed, lifeMs } = parts;
    this.#connected = connected;
    this.#now = now;
    this.#tell = tell;
    this.authorities = authorities;
    this.identities = identities;
    this.tokens = new JoinTokenStore(store);
    const { tokens } = this;
    this.peers = new Peers({ authorities, identities, now, tell });
    const { peers } = this;
    this.server = new ServerCertificate({ authorities, names: parts.names, now, failed });
    const { server } = this;
    this.enrolment = new Enrolment({ authorities, tokens, identities, peers, lifeMs, now, tell });
    const announce = () => connected.announce(this.message());
    this.rotation = new Rotation({ authorities, tokens, identities, server, now, tell, announce });
  }

  /** Opens what is on disk; the first start makes an authority. Throws what `Authorities.open` throws. */
  static async open(options: IdentityOptions): Promise<Identity> {
    const { dataDir, fleet, given, now, store, failed } = options;
    const authorities = await Authorities.open({ dir: join(dataDir, "ca"), fleet, given, now: now() });
    const identities = new Identities(new IdentityStore(store), failed);
    await identities.load();
    const identity = new Identity(options, authorities, identities);
    const isOut = identities.all().length > 0 || (await identity.tokens.list()).length > 0;
    if (!isOut) await authorities.rename(fleet);
    return identity;
  }

  /** Whom a host must trust, in the words of the wire, signed over the time: once for all who come within a moment. */
  message(): AuthoritiesMessage {
    const now = this.#now();
    const { standing, fleet } = this.authorities;
    const isSame = this.#said?.standing === standing && this.#said.fleet === fleet;
    if (this.#said !== null && isSame && Math.abs(now - this.#said.message.vouch.at) < SAY_ANEW_MS) {
      return this.#said.message;
    }
    const { certificates, active } = this.authorities;
    const vouch = this.authorities.vouch(now);
    const message = { type: "authorities", certificates, issuing: active.pin, vouch } as const;
    this.#said = { standing, fleet, message };
    return message;
  }

  /** What a host says that it has on its disk. Names that are none of ours say nothing. */
  hostTrusts(host: string, pins: readonly string[]): void {
    const ours = this.authorities.standing.map(({ authority }) => authority.pin);
    this.identities.trusts(
      host,
      ours.filter((pin) => pins.includes(pin)),
    );
  }

  /** A host has joined: what came with the identity before, if there was one, is ended. */
  hostJoined(host: string): void {
    this.#cut(host, { code: "identity-replaced", message: "this host has joined anew" });
  }

  /**
   * Ends a host's identity, for ever and at once: its connections are cut, and none of its certificates counts any more.
   * What belonged to it joins again by a new token. Throws `identity-unknown`.
   */
  async revoke(host: string, by: string, reason: string): Promise<void> {
    await this.tokens.end(host, this.#now());
    await this.identities.revoke(host, { at: this.#now(), by, reason });
    this.#cut(host, { code: "certificate-revoked", message: "this host's identity was revoked" });
    await this.#tell({ type: "host-revoked", host, by, reason });
  }

  /** Takes back tokens of a host that nobody has used. Throws `token-unknown`. */
  async endTokens(host: string, by: string): Promise<void> {
    if ((await this.tokens.end(host, this.#now())) === 0) {
      throw new BelayError("token-unknown", `${host} has no token that could still be used`, {
        hint: "`belay agent token list` shows them; `belay agent revoke` ends a host that has joined.",
      });
    }
    await this.#tell({ type: "join-token-ended", host, by });
  }

  /** Begins to keep things up to date by itself. */
  start(): void {
    this.#looking ??= setInterval(() => void this.look(), LOOK_EVERY_MS);
  }

  /**
   * What time alone brings about: belayd's own certificate is renewed, and a host whose last certificate has ended is let go
   * of, be its connection ever so old. Idempotent.
   */
  async look(): Promise<void> {
    const now = this.#now();
    const over = this.identities.all().filter(({ expiresAt, revoked }) => revoked === null && expiresAt <= now);
    for (const { host } of over) {
      if (!this.#connected.isPresent(host)) continue;
      this.#cut(host, { code: "certificate-expired", message: "this host's certificate has ended" });
    }
    await this.server.look();
  }

  stop(): void {
    clearInterval(this.#looking);
  }

  #cut(host: string, error: { code: string; message: string }): void {
    this.#connected.disconnect(host, error);
    this.peers.cut(host);
  }
}

export interface IdentityOptions {
  readonly dataDir: string;
  /** The fleet's name, until the first token is made. */
  readonly fleet: string;
  readonly given: GivenAuthority | null;
  readonly store: Store;
  /** How long a host's certificate lasts. */
  readonly lifeMs: number;
  /** What agents dial. */
  readonly names: () => readonly string[];
  readonly connected: Connected;
  readonly now: () => number;
  readonly tell: Tell;
  /** For what goes wrong in the background and is tried again. */
  readonly failed: (error: unknown) => void;
}
