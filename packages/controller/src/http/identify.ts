import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyRequest } from "fastify";
import { bearerToken, hashToken } from "../fleet/gateway.js";
import type { Caller } from "../people/caller.js";
import type { People } from "../people/people.js";

export interface Identities {
  readonly people: Pick<People, "callerOfToken" | "root">;
  /** The digest of the token in belayd's own file. */
  readonly rootTokenHash: string;
  /** By its certificate, or by a token in the clear where such are taken; null: no host's. */
  readonly hostOf: (request: IncomingMessage) => Promise<string | null>;
}

/**
 * Who sent a request: a person by a bearer token, a host by what its connection shows. A token is of one kind only: each
 * look-up is by the digest of all of it.
 */
export async function identify(request: FastifyRequest, identities: Identities): Promise<Caller> {
  const { people, rootTokenHash, hostOf } = identities;
  const token = bearerToken(request.headers.authorization);
  if (token !== null) {
    const hash = hashToken(token);
    if (timingSafeEqual(Buffer.from(hash, "hex"), Buffer.from(rootTokenHash, "hex"))) return people.root();
    const person = await people.callerOfToken(hash);
    if (person !== null) return person;
  }
  const host = await hostOf(request.raw);
  return host === null ? { kind: "anyone" } : { kind: "host", host };
}
