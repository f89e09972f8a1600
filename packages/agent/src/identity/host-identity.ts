import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Authorities, BelayError, errorInfo, readJoinToken } from "@belay/shared";
import { orMissing } from "../durable.js";
import type { ConnectionEnd } from "../link/connection.js";
import type { Access, Controller } from "../link/socket.js";
import { join } from "./enrol.js";
import { Holding, type HoldingOptions, NEW_TOKEN } from "./holding.js";
import type { HeldIdentity } from "./identity-file.js";
import { findAuthority } from "./introduction.js";
import { believing } from "./peer.js";
import { Renewal, type RenewalOptions } from "./renewal.js";
import { mustBeVouched, saidIn } from "./vouched.js";

export interface HostIdentityOptions extends HoldingOptions, RenewalOptions {
  /** Where the owner puts a token; it need not be there once the host has joined. */
  tokenFile: string;
}

/**
 * Who this host is to belayd, for as long as the agent runs: joins by a token when there is one that it has not used, and
 * renews its certificate from then on.
 */
export class HostIdentity implements Controller {
  readonly base: string;
  readonly #options: HostIdentityOptions;
  readonly #holding: Holding;
  readonly #renewal: Renewal;
  /** A token that belayd refused: it is not tried again and again. */
  #refusedToken: string | null = null;

  private constructor(options: HostIdentityOptions) {
    this.base = options.base;
    this.#options = options;
    this.#holding = new Holding(options, () => this.#renewal.wake());
    this.#renewal = new Renewal(this.#holding, options);
  }

  /** Reads what is on disk. Throws `identity-damaged`. */
  static async open(options: HostIdentityOptions): Promise<HostIdentity> {
    const identity = new HostIdentity(options);
    await identity.#holding.load();
    return identity;
  }

  /** Null: this host has not joined. */
  get held(): HeldIdentity | null {
    return this.#holding.held;
  }

  /** How belayd is called now. Throws `not-joined`. */
  access(): Access {
    const held = this.#holding.mustHold();
    return { headers: {}, tls: this.#holding.tlsOf(held) };
  }

  /** Begins to renew. */
  start(): void {
    this.#renewal.start();
  }

  halt(): Promise<void> {
    return this.#renewal.halt();
  }

  /**
   * Before each dial: joins, where the owner has put a new token; null when there is an identity to dial with. A host that
   * has one goes on with it when the new token is of no use.
   */
  async prepare(): Promise<ConnectionEnd | null> {
    const { log } = this.#options;
    try {
      await this.#holding.load();
      if ((await this.#newToken()) !== null) await this.join();
      this.#holding.mustHold();
      return null;
    } catch (thrown) {
      const error = errorInfo(thrown);
      if (this.held !== null) {
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
      const key = await this.#holding.joiningKey(token);
      const tls = believing([authority], fleet, this.base);
      const issued = await join({ base: this.base, tls, fleet, host, key }, secret);
      mustBeVouched(saidIn(issued), { fleet, authorities: [authority], since: 0 });
      const held = await this.#holding.adopt({ fleet, host, token }, key, issued);
      log.info({ host, fleet }, "joined");
      return held;
    } catch (error) {
      if (isRefusal(errorInfo(error).code)) this.#refusedToken = token;
      throw error;
    }
  }

  /** belayd says whom to trust from now on. Gives the pins that are on disk when this settles; throws as `Holding.trust` does. */
  trust(authorities: Authorities): Promise<string[]> {
    return this.#holding.trust(authorities);
  }

  /** One that was neither used nor refused; null: there is none. */
  async #newToken(): Promise<string | null> {
    const text = await this.#tokenText();
    if (text === null) return null;
    const token = digest(text);
    return token === this.held?.token || token === this.#refusedToken ? null : text;
  }

  async #tokenText(): Promise<string | null> {
    return (await orMissing(readFile(this.#options.tokenFile, "utf8")))?.trim() ?? null;
  }
}

/** belayd's own word on this very token. Anything else may be put right without a new one. */
function isRefusal(code: string): boolean {
  return code.startsWith("token-") || code === "identity-revoked";
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
