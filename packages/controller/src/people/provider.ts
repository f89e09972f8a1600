import { readFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import * as oidc from "openid-client";
import type { OidcConfig } from "../config-oidc.js";

/** What the provider says of somebody, checked: signature, issuer, audience, times, nonce. */
export type Claims = Readonly<Record<string, unknown>> & { readonly iss: string; readonly sub: string };

/** What must come back with a browser, kept meanwhile. */
export interface BrowserLogin {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** What a person without a browser here types elsewhere. */
export type DeviceLogin = oidc.DeviceAuthorizationResponse;

const ANSWER_TIMEOUT_SECONDS = 10;

/**
 * The identity provider, by its discovery document, which is read when it is first needed: belayd starts without it.
 * Every call throws `provider-unreachable` when it doesn't answer, and `sign-in-refused` when it, or a check of what it
 * answered, says no. No error carries a token, a code or a secret.
 */
export class Provider {
  readonly #config: OidcConfig;
  #known: Promise<oidc.Configuration> | null = null;

  constructor(config: OidcConfig) {
    this.#config = config;
  }

  /** Where to send the browser. Throws `sign-in-not-here` where no way back is configured. */
  async beginBrowser(): Promise<{ readonly url: URL; readonly login: BrowserLogin }> {
    const { redirectUri, scopes } = this.#config;
    if (redirectUri === null) {
      throw new BelayError("sign-in-not-here", "browsers can't sign in here", {
        hint: "belayd.yaml needs oidc.redirectUri for that; belay login --oidc works without.",
      });
    }
    const login = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier: oidc.randomPKCECodeVerifier() };
    const url = oidc.buildAuthorizationUrl(await this.#discover(), {
      redirect_uri: redirectUri,
      scope: scopes.join(" "),
      state: login.state,
      nonce: login.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(login.verifier),
      code_challenge_method: "S256",
    });
    return { url, login };
  }

  /** `search`: the query that the browser came back with. */
  async finishBrowser(search: string, { state, nonce, verifier }: BrowserLogin): Promise<Claims> {
    const config = await this.#discover();
    const back = new URL(`${this.#config.redirectUri}${search}`);
    return this.#claimsOf(
      oidc.authorizationCodeGrant(config, back, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      }),
    );
  }

  async beginDevice(): Promise<DeviceLogin> {
    const config = await this.#discover();
    const asked = oidc.initiateDeviceAuthorization(config, { scope: this.#config.scopes.join(" ") });
    return asked.catch((error: unknown) => {
      throw refusal(error);
    });
  }

  /** Settles when the person has decided, or their time is over. */
  async finishDevice(login: DeviceLogin, signal: AbortSignal): Promise<Claims> {
    return this.#claimsOf(oidc.pollDeviceAuthorizationGrant(await this.#discover(), login, undefined, { signal }));
  }

  async #claimsOf(granted: Promise<oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers>): Promise<Claims> {
    try {
      const tokens = await granted;
      const claims = tokens.claims();
      if (claims === undefined) throw new BelayError("sign-in-refused", "the provider sent no ID token");
      const { name, groups } = this.#config.claims;
      const config = await this.#discover();
      if ((name in claims && groups in claims) || config.serverMetadata().userinfo_endpoint === undefined)
        return claims;
      // Many providers keep the ID token small; what it says itself wins.
      return { ...(await oidc.fetchUserInfo(config, tokens.access_token, claims.sub)), ...claims };
    } catch (error) {
      throw refusal(error);
    }
  }

  #discover(): Promise<oidc.Configuration> {
    this.#known ??= this.#read().catch((error: unknown) => {
      this.#known = null;
      throw refusal(error);
    });
    return this.#known;
  }

  async #read(): Promise<oidc.Configuration> {
    const { issuer, clientId, clientSecretFile } = this.#config;
    const secret = clientSecretFile === null ? null : (await readFile(clientSecretFile, "utf8")).trim();
    const auth = secret === null ? oidc.None() : oidc.ClientSecretBasic(secret);
    const url = new URL(issuer);
    const insecure = url.protocol === "http:" ? [oidc.allowInsecureRequests] : [];
    return oidc.discovery(url, clientId, {}, auth, {
      // That TLS says whom the ID token comes from is not enough: its signature is checked too.
      execute: [oidc.enableNonRepudiationChecks, ...insecure],
      timeout: ANSWER_TIMEOUT_SECONDS,
    });
  }
}

/** Only codes and the protocol's own words: what the library's errors carry besides may hold tokens. */
function refusal(thrown: unknown): BelayError {
  if (thrown instanceof BelayError) return thrown;
  const { code, error, cause } = thrown as { code?: string; error?: string; cause?: { message?: string } };
  if (code === undefined || code === "OAUTH_TIMEOUT" || code.startsWith("E")) {
    return new BelayError("provider-unreachable", `the identity provider does not answer (${code ?? nameOf(thrown)})`, {
      hint: "Tokens go on working. Is oidc.issuer in belayd.yaml right?",
    });
  }
  const why = error ?? (typeof cause?.message === "string" ? cause.message : code);
  return new BelayError("sign-in-refused", `the sign-in was refused: ${why} (${code})`, {
    hint: "Try again: belay login --oidc, or /v1/login in a browser.",
  });
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : "no reason given";
}
