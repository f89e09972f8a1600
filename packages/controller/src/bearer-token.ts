import { createHash, randomBytes } from "node:crypto";

/** A new secret: random, URL-safe, long enough that nobody guesses it. */
export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** Tokens are random and long: a plain digest is enough at rest, and can be looked up by index. */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** The token of an `Authorization: Bearer` header, or null. */
export function bearerToken(header: string | undefined): string | null {
  return /^Bearer ([A-Za-z0-9._~+/=-]{16,512})$/.exec(header ?? "")?.[1] ?? null;
}
