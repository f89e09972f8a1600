import { createHash, createPrivateKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Authorities, BelayError, errorInfo, type Issued, readJoinToken } from "@belay/shared";
import type { Clock } from "../clock.js";
import { orMissing } from "../durable.js";
import { backoffMs } from "../link/backoff.js";
import type { ConnectionEnd } from "../link/connection.js";
import type { Access, Controller } from "../link/socket.js";
import type { Logger } from "../log.js";
import { join, makeKey, renew, show } from "./enrol.js";
import { type HeldIdentity, IdentityFile } from "./identity-file.js";
import { findAuthority } from "./introduction.js";
import { believing } from "./peer.js";
import { areSame, mustBeVouched, type SaidAuthorities } from "./vouched.js";

export interface HostIdentityOptions {
  /** Address of belayd's door, https. */
  base: string;
  host: string;
  stateDir: string;
  /** Where the owner puts a token; it need not be there once the host has joined. */
  tokenFile: string;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  log: Logger;
  /** How often it looks whether it is time to renew. */
  lookMs?: number;
}

const LOOK_MS = 60_000;
const RETRY = { baseMs: 1_000, capMs: 300_000 };
const RENEW_AFTER = 2 / 3;

/**
 * Who this host is to belayd, for as long as the agent runs: joins by a token when there is one that it has not used, and
 * renews its certificate, with a new key, long before it ends. What it shows is always whole, and on disk first.
 */
export class HostIdentity implements Controller {
  readonly base: string;
  readonly #options: HostIdentityOptions;
  readonly #file: IdentityFile;
  readonly #halting = new AbortController();
  #held: HeldIdentity | null = null;
  /** belayd has seen the newest certificate. */
  #shown = false;
  /** Who issues now, if belayd has said so. */
  #issuing: string | null = null;
  /** A token that belayd refused: it is not tried again and again. */
  #refusedToken: string | null = null;
  #renewing: Promise<void> = Promise.resolve();
  /** Ended early when there is something new to look at. */
  #nap = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(options: HostIdentityOptions) {
    this.base = options.base;
    this.#options = options;
    this.#file = new IdentityFile(options.stateDir);
  }

  /** Reads what is on disk. Throws `identity-damaged`. */
  static async open(options: HostIdentityOptions): Promise<HostIdentity> {
    const identity = new HostIdentity(options);
    await identity.#load();
    return identity;
  }

  /** Null: this host has not joined. */
  get held(): HeldIdentity | null {
    return this.#held;
  }

  /** How belayd is called now. Throws `not-joined`. */
  access(): Access {
    const held = this.#mustHold();
    return { headers: {}, tls: this.#tlsOf(held) };
  }

  /** Begins to renew. */
  start(): void {
    this.#renewing = this.#keep();
  }

  async halt(): Promise<void> {
    this.#halting.abort();
    this.#nap.abort();
    await this.#renewing;
  }

  /**
   * Before each dial: joins, where the owner has put a new token; null when there is an identity to dial with. A host that
   * has one goes on with it when the new token is of no use.
   */
  async prepare(): Promise<ConnectionEnd | null> {
    const { log } = this.#options;
    try {
      await this.#load();
      if ((await this.#newToken()) !== null) await this.join();
      this.#mustHold();
      return null;
    } catch (thrown) {
      const error = errorInfo(thrown);
      if (this.#held !== null) {
        log.warn({ error }, "cannot join anew; going on as before");
        return null;
      }
      if (error.code === "controller-unreachable") return { kind: "unreachable", error: BelayError.from(error) };
      return { kind: "refused", error, retry: false };
    }
  }

  /**
   * Joins by the token in `tokenFile`. The key is on disk before it asks, so that an answer which got lost can be asked for
   * again: belayd knows the key. Throws `token-invalid`, belayd's refusal, `controller-unknown` or `controller-unreachable`.
   */
  async join(): Promise<HeldIdentity> {
    const { host, tokenFile, log } = this.#options;
    const text = await this.#tokenText();
    if (text === null) throw new BelayError("token-missing", `${tokenFile} is not there`, { hint: NEW_TOKEN });
    const token = digest(text);
    const { fleet, pin, secret } = readJoinToken(text);
    try {
      const authority = await findAuthority(this.base, pin);
      const kept = await this.#file.joiningWith(token);
      const key = kept === null ? makeKey() : createPrivateKey(kept);
      if (kept === null) await this.#file.writeJoining({ token, key: pemOf(key) });
      const tls = believing([authority], fleet, this.base);
      const issued = await join({ base: this.base, tls, fleet, host, key }, secret);
      mustBeVouched(saidIn(issued), { fleet, authorities: [authority], since: 0 });
      const held = await this.#adopt({ fleet, host, token }, pemOf(key), issued);
      log.info({ host, fleet }, "joined");
      return held;
    } catch (error) {
      if (errorInfo(error).code !== "controller-unreachable") this.#refusedToken = token;
      throw error;
    }
  }

  /**
   * belayd says whom to trust from now on. Gives the pins that are on disk when this settles. Without the word of one that is
   * trusted already it is no rotation: throws what `mustBeVouched` throws, and nothing changes.
   */
  trust({ certificates, issuing, vouch }: Authorities): Promise<string[]> {
    return this.#alone(async () => {
      const held = this.#mustHold();
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

  async #keep(): Promise<void> {
    const { clock, random, log, lookMs = LOOK_MS } = this.#options;
    const { signal } = this.#halting;
    for (let attempt = 0; !signal.aborted; ) {
      let waitMs = Math.min(lookMs, Math.max(0, this.#dueIn()));
      try {
        if (this.#dueIn() <= 0) await this.#renew();
        if (this.#held !== null && !this.#shown) await this.#show();
        attempt = 0;
      } catch (thrown) {
        waitMs = RETRY.baseMs + backoffMs(attempt, RETRY, random());
        attempt += 1;
        if (!signal.aborted) log.warn({ error: errorInfo(thrown), waitMs }, "the certificate can't be renewed");
      }
      // Never at once: a life that is over in no time must not keep a processor busy.
      this.#nap = new AbortController();
      if (!signal.aborted) await clock.sleep(Math.max(waitMs, MIN_WAIT_MS), this.#nap.signal).catch(() => {});
    }
  }

  /** Until the certificate should be renewed, by how long ago it came. */
  #dueIn(): number {
    const held = this.#held;
    if (held === null) return Number.POSITIVE_INFINITY;
    if (this.#issuing !== null && held.issuer !== this.#issuing) return 0;
    return held.obtainedAt + held.lifeMs * RENEW_AFTER - this.#options.clock.now();
  }

  async #renew(): Promise<void> {
    const held = this.#mustHold();
    const { fleet, host } = held;
    const key = makeKey();
    const issued = await renew({ base: this.base, tls: this.#tlsOf(held), fleet, host, key });
    // A join may have come in between: then this certificate is of a life that is over.
    if (this.#held?.token !== held.token) return;
    mustBeVouched(saidIn(issued), knownOf(this.#held));
    await this.#adopt(held, pemOf(key), issued);
    this.#options.log.info({ lifeMs: issued.lifeMs }, "certificate renewed");
  }

  async #show(): Promise<void> {
    const held = this.#mustHold();
    await show({ base: this.base, tls: this.#tlsOf(held) });
    if (this.#held?.certificate === held.certificate) this.#shown = true;
  }

  async #adopt(
    who: Pick<HeldIdentity, "fleet" | "host" | "token">,
    key: string,
    { certificate, authorities, issuer, lifeMs, vouch }: Issued,
  ): Promise<HeldIdentity> {
    const { fleet, host, token } = who;
    const obtainedAt = this.#options.clock.now();
    const vouchedAt = vouch.at;
    const held = { fleet, host, token, key, certificate, authorities, issuer, lifeMs, obtainedAt, vouchedAt };
    return this.#alone(async () => {
      await this.#file.write(held);
      this.#held = held;
      this.#issuing = issuer;
      this.#shown = false;
      this.#nap.abort();
      return held;
    });
  }

  /** One change of what is held at a time, each on disk before the next. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Another process may have joined for us (`belay-agent join`). */
  async #load(): Promise<void> {
    const held = await this.#file.read();
    if (held === null || held.certificate === this.#held?.certificate) return;
    const { host, log } = this.#options;
    if (held.host !== host) {
      log.warn({ joinedAs: held.host }, "this host joined by another name; it must join anew");
      return;
    }
    this.#held = held;
    this.#issuing = null;
    this.#shown = false;
    this.#nap.abort();
  }

  /** One that was neither used nor refused; null: there is none. */
  async #newToken(): Promise<string | null> {
    const text = await this.#tokenText();
    if (text === null) return null;
    const token = digest(text);
    return token === this.#held?.token || token === this.#refusedToken ? null : text;
  }

  async #tokenText(): Promise<string | null> {
    return (await orMissing(readFile(this.#options.tokenFile, "utf8")))?.trim() ?? null;
  }

  #tlsOf({ authorities, fleet, certificate, key }: HeldIdentity) {
    return { ...believing(authorities, fleet, this.base), cert: certificate, key };
  }

  #mustHold(): HeldIdentity {
    if (this.#held !== null) return this.#held;
    throw new BelayError("not-joined", "this host has not joined, and has no token that it could join with", {
      hint: NEW_TOKEN,
    });
  }
}

const MIN_WAIT_MS = 50;
const NEW_TOKEN = "put a new token into `tokenFile`: belay agent token create --host NAME";

function pemOf(key: ReturnType<typeof makeKey>): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function saidIn({ authorities: certificates, issuer: issuing, vouch }: Issued): SaidAuthorities {
  return { certificates, issuing, vouch };
}

function knownOf({ fleet, authorities, vouchedAt: since = 0 }: HeldIdentity) {
  return { fleet, authorities, since };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
