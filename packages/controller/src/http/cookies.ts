import type { TLSSocket } from "node:tls";
import type { FastifyReply, FastifyRequest } from "fastify";

/** What belayd keeps in a browser: a sign-in that is under way, and a session. */
export type CookieName = "login" | "session";

const SECRET = /^[A-Za-z0-9_-]{43}$/;

/** The cookie's value, if it is one that belayd could have made. */
export function readCookie(request: FastifyRequest, name: CookieName): string | null {
  const wanted = fullName(request, name);
  for (const pair of (request.headers.cookie ?? "").split(";")) {
    const [key, value = ""] = pair.trim().split("=", 2);
    if (key === wanted && SECRET.test(value)) return value;
  }
  return null;
}

/**
 * `maxAgeMs` 0 forgets it. No script of a page sees it, and other sites' requests don't carry it but for plain links,
 * which change nothing.
 */
export function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  name: CookieName,
  value: string,
  maxAgeMs: number,
): void {
  const age = Math.max(0, Math.floor(maxAgeMs / 1000));
  const secure = isTls(request) ? "; Secure" : "";
  const cookie = `${fullName(request, name)}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${age}${secure}`;
  reply.header("set-cookie", cookie);
}

export function isTls(request: FastifyRequest): boolean {
  return (request.raw.socket as TLSSocket).encrypted === true;
}

/** With `__Host-` a browser takes it over TLS from this very host alone, so that no neighbour can plant one. */
function fullName(request: FastifyRequest, name: CookieName): string {
  return isTls(request) ? `__Host-belay-${name}` : `belay-${name}`;
}
