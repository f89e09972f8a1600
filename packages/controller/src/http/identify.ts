import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyRequest } from "fastify";
import { bearerToken, hashToken } from "../bearer-token.js";
import type { Caller } from "../people/caller.js";
import type { People } from "../people/people.js";
import type { Sessions } from "../people/sessions.js";
import { readCookie } from "./cookies.js";
import { checkSameOrigin } from "./same-origin.js";

export interface Identities {
  readonly people: Pick<People, "callerOfToken" | "callerOf" | "root">;
  readonly sessions: Pick<Sessions, "userOf">;
  /** The digest of the token in belayd's own file. */
  readonly rootTokenHash: string;
  /** By its certificate, or by a token in the clear where such are taken; null: no host's. */
  readonly hostOf: (request: IncomingMessage) => Promise<string | null>;
}

/**
 * Who sent a request: a person by a bearer token, a host by what its connection shows, and without either by a browser's
 * session. A token is of one kind only: each look-up is by the digest of all of it. Throws `cross-site`.
 */
export async function identify(request: FastifyRequest, identities: Identities): Promise<Caller> {
  const { people, rootTokenHash, hostOf } = identities;
  const { authorization } = request.headers;
  const token = bearerToken(authorization);
  if (token !== null) {
    const hash = hashToken(token);
    if (timingSafeEqual(Buffer.from(hash, "hex"), Buffer.from(rootTokenHash, "hex"))) return people.root();
    const person = await people.callerOfToken(hash);
    if (person !== null) return person;
  }
  const host = await hostOf(request.raw);
  if (host !== null) return { kind: "host", host };
  return authorization === undefined ? bySession(request, identities) : NOBODY;
}

const NOBODY: Caller = { kind: "anyone" };

async function bySession(request: FastifyRequest, { people, sessions }: Identities): Promise<Caller> {
  const secret = readCookie(request, "session");
  if (secret === null) return NOBODY;
  const session = await sessions.userOf(secret);
  if (session === null) return NOBODY;
  checkSameOrigin(request);
  return people.callerOf(session.user, "browser session", session.expiresAt) ?? NOBODY;
}
