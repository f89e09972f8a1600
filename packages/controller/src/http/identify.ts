import { timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { bearerToken, hashToken } from "../fleet/gateway.js";
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
  readonly hostOfToken: (hash: string) => Promise<string | null>;
}

/**
 * Who sent a request: by its bearer token or, without one, by its browser's session. A token is of one kind only: each
 * look-up is by the digest of all of it. Throws `cross-site`.
 */
export async function identify(request: FastifyRequest, identities: Identities): Promise<Caller> {
  if (request.headers.authorization === undefined) return bySession(request, identities);
  const token = bearerToken(request.headers.authorization);
  if (token === null) return NOBODY;
  const hash = hashToken(token);
  const { people, rootTokenHash, hostOfToken } = identities;
  if (timingSafeEqual(Buffer.from(hash, "hex"), Buffer.from(rootTokenHash, "hex"))) return people.root();
  const person = await people.callerOfToken(hash);
  if (person !== null) return person;
  const host = await hostOfToken(hash);
  return host === null ? NOBODY : { kind: "host", host };
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
