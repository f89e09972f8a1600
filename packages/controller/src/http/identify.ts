import { timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { bearerToken, hashToken } from "../fleet/gateway.js";
import type { Caller } from "../people/caller.js";
import type { People } from "../people/people.js";

export interface Identities {
  readonly people: Pick<People, "callerOfToken" | "root">;
  /** The digest of the token in belayd's own file. */
  readonly rootTokenHash: string;
  readonly hostOfToken: (hash: string) => Promise<string | null>;
}

/** Who sent a request, by its bearer token. A token is of one kind only: each look-up is by the digest of all of it. */
export async function identify(request: FastifyRequest, identities: Identities): Promise<Caller> {
  const token = bearerToken(request.headers.authorization);
  if (token === null) return { kind: "anyone" };
  const hash = hashToken(token);
  const { people, rootTokenHash, hostOfToken } = identities;
  if (timingSafeEqual(Buffer.from(hash, "hex"), Buffer.from(rootTokenHash, "hex"))) return people.root();
  const person = await people.callerOfToken(hash);
  if (person !== null) return person;
  const host = await hostOfToken(hash);
  return host === null ? { kind: "anyone" } : { kind: "host", host };
}
