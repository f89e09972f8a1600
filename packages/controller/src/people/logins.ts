import { BelayError, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { OidcConfig } from "../config-oidc.js";
import type { UserRow } from "../store/people.js";
import { Pending } from "./pending.js";
import type { People } from "./people.js";
import type { BrowserLogin, Claims, DeviceLogin, Provider } from "./provider.js";
import { readClaims } from "./sign-in.js";

/** A person may have to find their second factor first. */
const BROWSER_PATIENCE_MS = 10 * 60_000;
/** Devices wait in memory, each with a question to the provider every few seconds. */
const DEVICES = { most: 100, ofOne: 10 } as const;
const BROWSERS = { most: 1_000, ofOne: 100 } as const;

/** What a device is told to show. `id` is its secret for asking again. */
export interface DeviceQuestion {
  readonly id: string;
  readonly code: string;
  readonly url: string;
  /** The same with the code in it, where the provider has one. */
  readonly urlWithCode: string | null;
  readonly expiresAt: number;
}

interface Device {
  readonly stop: AbortController;
  outcome: { readonly user: UserRow } | { readonly error: BelayError } | null;
}

export interface LoginParts {
  readonly config: OidcConfig;
  readonly provider: Provider;
  readonly people: People;
  readonly now: () => number;
  readonly newSecret: () => string;
  readonly log: Logger;
}

/** Sign-ins that are under way. They are in memory: after a restart of belayd people begin anew. */
export class Logins {
  readonly #parts: LoginParts;
  readonly #browsers: Pending<BrowserLogin & { readonly goTo: string }>;
  readonly #devices: Pending<Device>;
  readonly #going = new Set<AbortController>();

  constructor(parts: LoginParts) {
    this.#parts = parts;
    this.#browsers = new Pending(BROWSERS.most, BROWSERS.ofOne, parts.now);
    this.#devices = new Pending(DEVICES.most, DEVICES.ofOne, parts.now);
  }

  /** `secret` goes into the browser's cookie: whoever comes back without it did not begin here. */
  async beginBrowser(
    goTo: string,
    origin: string,
  ): Promise<{ readonly url: URL; readonly secret: string; readonly ttlMs: number }> {
    this.#browsers.needRoom(origin);
    const { url, login } = await this.#parts.provider.beginBrowser();
    const secret = this.#parts.newSecret();
    this.#browsers.put(secret, { ...login, goTo }, BROWSER_PATIENCE_MS, origin);
    return { url, secret, ttlMs: BROWSER_PATIENCE_MS };
  }

  /** Throws `sign-in-refused`: not begun here, begun too long ago, come back twice, or refused by a check. */
  async finishBrowser(
    secret: string | null,
    search: string,
  ): Promise<{ readonly user: UserRow; readonly goTo: string }> {
    const login = secret === null ? null : this.#browsers.take(secret);
    if (login === null) {
      throw new BelayError("sign-in-refused", "this sign-in was not begun in this browser, or too long ago", {
        hint: "Begin anew at /v1/login.",
      });
    }
    const user = await this.#admit(await this.#parts.provider.finishBrowser(search, login));
    return { user, goTo: login.goTo };
  }

  async beginDevice(origin: string): Promise<DeviceQuestion> {
    const { provider, newSecret, now } = this.#parts;
    this.#devices.needRoom(origin);
    const login = await provider.beginDevice();
    const id = newSecret();
    const device: Device = { stop: new AbortController(), outcome: null };
    const ttlMs = Math.min(login.expires_in * 1000, BROWSER_PATIENCE_MS);
    this.#devices.put(id, device, ttlMs, origin);
    this.#going.add(device.stop);
    void this.#attend(device, login, ttlMs);
    return {
      id,
      code: login.user_code,
      url: login.verification_uri,
      urlWithCode: login.verification_uri_complete ?? null,
      expiresAt: now() + ttlMs,
    };
  }

  /** Null: nobody has decided yet. Once answered, it is forgotten. Throws `sign-in-refused`. */
  pollDevice(id: string): UserRow | null {
    const device = this.#devices.peek(id);
    if (device === null) {
      throw new BelayError("sign-in-refused", "there is no such sign-in, or its time is over", {
        hint: "belay login --oidc begins anew.",
      });
    }
    if (device.outcome === null) return null;
    this.#devices.take(id);
    if ("error" in device.outcome) throw device.outcome.error;
    return device.outcome.user;
  }

  /** Asks the provider no more. Idempotent. */
  stop(): void {
    for (const stop of this.#going) stop.abort();
  }

  async #attend(device: Device, login: DeviceLogin, ttlMs: number): Promise<void> {
    const timer = setTimeout(() => device.stop.abort(), ttlMs);
    try {
      device.outcome = { user: await this.#admit(await this.#parts.provider.finishDevice(login, device.stop.signal)) };
    } catch (error) {
      device.outcome = { error: BelayError.from(errorInfo(error)) };
    } finally {
      clearTimeout(timer);
      this.#going.delete(device.stop);
    }
  }

  async #admit(claims: Claims): Promise<UserRow> {
    const { config, people, log } = this.#parts;
    const user = await people.signIn(readClaims(claims, config));
    log.info({ user: user.name, roles: user.roles }, "signed in");
    return user;
  }
}
