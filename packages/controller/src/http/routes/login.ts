import { BelayError } from "@belay/shared";
import type { FastifyRequest } from "fastify";
import Type from "typebox";
import type { DeviceAnswer, DeviceLogin } from "../../api/contract.js";
import type { Logins } from "../../people/logins.js";
import { whereFrom } from "../audited.js";
import { readCookie, setCookie } from "../cookies.js";
import { originOf } from "../doors/address.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const anyone = { config: { access: "anyone" } } as const;
/** A path here and nowhere else: `//host` and `/\host` are other places to a browser. */
const OwnPath = Type.String({ pattern: "^/(?![/\\\\])[\\x21-\\x5b\\x5d-\\x7e]*$", maxLength: 1_024 });
const Secret = Type.String({ pattern: "^[A-Za-z0-9_-]{43}$" });

/** Signing in through the identity provider, for browsers (by redirect) and for the command line (by a code). */
export function loginRoutes(
  server: Server,
  {
    audit,
    logins,
    sessions,
    people,
    oidc,
    now,
  }: Pick<Services, "audit" | "logins" | "sessions" | "people" | "oidc" | "now">,
): void {
  /** On record before whoever signed in has anything to show for it. */
  function signedIn(request: FastifyRequest, name: string, how: string): Promise<void> {
    return audit.append({ who: { name, how }, from: whereFrom(request), action: "sign-in", phase: "done", about: {} });
  }

  server.get(
    "/v1/login",
    { ...anyone, schema: { querystring: Type.Object({ return: Type.Optional(OwnPath) }) } },
    async (request, reply) => {
      const { url, secret, ttlMs } = await configured(logins).beginBrowser(
        request.query.return ?? "/",
        originOf(request.raw.socket.remoteAddress),
      );
      setCookie(request, reply, "login", secret, ttlMs);
      return reply.redirect(url.href, 302);
    },
  );

  server.get("/v1/login/callback", anyone, async (request, reply) => {
    const search = request.url.slice(request.url.indexOf("?"));
    const begun = readCookie(request, "login");
    setCookie(request, reply, "login", "", 0);
    const { user, goTo } = await configured(logins).finishBrowser(begun, search);
    const { secret, expiresAt } = await sessions.begin(user.name, readCookie(request, "session"));
    await signedIn(request, user.name, "identity provider, in a browser");
    setCookie(request, reply, "session", secret, expiresAt - now());
    return reply.redirect(goTo, 303);
  });

  server.post("/v1/logout", { config: { access: "viewer" } }, async (request, reply) => {
    const secret = readCookie(request, "session");
    if (secret !== null) await sessions.end(secret);
    setCookie(request, reply, "session", "", 0);
    return {};
  });

  server.post(
    "/v1/login/device",
    anyone,
    (request): Promise<DeviceLogin> => configured(logins).beginDevice(originOf(request.raw.socket.remoteAddress)),
  );

  server.post(
    "/v1/login/device/poll",
    { ...anyone, schema: { body: Type.Object({ id: Secret }, { additionalProperties: false }) } },
    async (request): Promise<DeviceAnswer> => {
      const user = configured(logins).pollDevice(request.body.id);
      if (user === null || oidc === null) return { token: null };
      const wanted = { user: user.name, name: "belay login", roles: null, ttlMs: oidc.sessionMs };
      const { token } = await people.createToken(wanted, user.name);
      await signedIn(request, user.name, "identity provider, by a code");
      return { token };
    },
  );
}

/** Throws `sign-in-not-here`. */
function configured(logins: Logins | null): Logins {
  if (logins !== null) return logins;
  throw new BelayError("sign-in-not-here", "no identity provider is configured", {
    hint: "Use an API token (belay login), or name a provider in belayd.yaml (oidc).",
  });
}
