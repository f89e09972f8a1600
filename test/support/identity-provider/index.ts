import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, type JWK, SignJWT } from "jose";
import Provider, { type Configuration, interactionPolicy } from "oidc-provider";

/** Somebody whom the provider knows. */
export interface Account {
  readonly sub: string;
  readonly [claim: string]: unknown;
}

export const CLIENT_ID = "belay";
export const CLIENT_SECRET = "a-secret-of-belayd-0123456789";

/** What an attacker in the provider's place would send: other claims or another header, `null` for no signature at all. */
export interface Forgery {
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Signed by a key that the provider never published. */
  readonly foreignKey?: boolean;
  /** With `alg: none`. */
  readonly unsigned?: boolean;
}

/** A real OpenID Connect provider in this process, at which whoever comes is signed in as `account` without being asked. */
export class IdentityProvider {
  account: Account | null = null;
  /** What to make of every ID token from now on. */
  forgery: Forgery | null = null;
  readonly #server: Server;
  readonly #provider: Provider;
  readonly #accounts = new Map<string, Account>();
  readonly #key: JWK;

  private constructor(server: Server, provider: Provider, key: JWK) {
    this.#server = server;
    this.#provider = provider;
    this.#key = key;
  }

  /** `redirectUris`: where browsers may be sent back to. */
  static async start(redirectUris: readonly string[]): Promise<IdentityProvider> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const key = { ...(await newKey()), use: "sig", kid: "first" };
    const provider = new Provider(issuer, {
      ...CONFIGURATION,
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: CLIENT_SECRET,
          redirect_uris: [...redirectUris],
          response_types: ["code"],
          grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        },
      ],
      jwks: { keys: [key] },
      findAccount: (_context, sub) => {
        const claims = idp.#accounts.get(sub);
        return claims === undefined ? undefined : { accountId: sub, claims: () => claims };
      },
    });
    const idp = new IdentityProvider(server, provider, key);
    const answer = provider.callback();
    server.on("request", (request, response) => {
      idp.#answer(request, response, answer).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
    return idp;
  }

  get issuer(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  ): Promise<void> {
    if (request.url?.startsWith("/interaction/")) return this.#signIn(request, response);
    if (request.url === "/token" && this.forgery !== null) forgeAnswer(response, this.forgery, this.#key);
    await answer(request, response);
  }

  /** What a person would do at the provider's pages. */
  async #signIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session } = await this.#provider.interactionDetails(request, response);
    const { account } = this;
    if (account === null) {
      await this.#provider.interactionFinished(request, response, { error: "access_denied" });
      return;
    }
    this.#accounts.set(account.sub, account);
    if (prompt.name === "login") {
      await this.#provider.interactionFinished(request, response, { login: { accountId: account.sub } });
      return;
    }
    const grant = new this.#provider.Grant({
      accountId: session?.accountId ?? account.sub,
      clientId: String(params.client_id),
    });
    grant.addOIDCScope(String(params.scope));
    const consent = { grantId: await grant.save() };
    await this.#provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
  }
}

const CONFIGURATION: Configuration = {
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "name"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  scopes: ["openid", "profile", "email", "groups"],
  features: {
    devInteractions: { enabled: false },
    deviceFlow: {
      enabled: true,
      // A person would look at the code here; the form is what a browser then sends.
      userCodeConfirmSource: (context, form) => {
        context.body = `<html>${form}</html>`;
      },
      successSource: (context) => {
        context.body = "signed in";
      },
    },
  },
  interactions: { url: (_context, { uid }) => `/interaction/${uid}`, policy: interactionPolicy.base() },
  cookies: { keys: ["a-key-for-tests"] },
  pkce: { required: () => true },
  ttl: {
    AccessToken: 600,
    AuthorizationCode: 60,
    DeviceCode: 60,
    Grant: 600,
    IdToken: 600,
    Interaction: 600,
    Session: 600,
  },
};

async function newKey(): Promise<JWK> {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return exportJWK(privateKey);
}

/** Holds the answer back until it is whole, and puts another ID token into it. */
function forgeAnswer(response: ServerResponse, forgery: Forgery, key: JWK): void {
  const end = response.end.bind(response);
  response.end = ((body?: unknown) => {
    const text = Buffer.isBuffer(body) ? body.toString() : String(body ?? "");
    void forge(text, forgery, key).then((forged) => {
      response.setHeader("content-length", Buffer.byteLength(forged));
      end(forged);
    });
    return response;
  }) as typeof response.end;
}

async function forge(answer: string, { claims = {}, foreignKey, unsigned }: Forgery, key: JWK): Promise<string> {
  const tokens = JSON.parse(answer) as { id_token?: string };
  if (tokens.id_token === undefined) return answer;
  const [, body = ""] = tokens.id_token.split(".");
  const forged = { ...(JSON.parse(Buffer.from(body, "base64url").toString()) as object), ...claims };
  if (unsigned) {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    return JSON.stringify({ ...tokens, id_token: `${part({ alg: "none" })}.${part(forged)}.` });
  }
  const signer = foreignKey ? await newKey() : key;
  const signed = await new SignJWT(forged).setProtectedHeader({ alg: "RS256", kid: "first" }).sign(signer);
  return JSON.stringify({ ...tokens, id_token: signed });
}
