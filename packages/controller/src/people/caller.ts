import type { Role } from "./roles.js";

/** Whoever holds the token that belayd made at its first start. Its name stands in every record of what was done with it. */
export const ROOT = "root";

/** Somebody with a name: what they do is recorded under it, and under nothing else. */
export interface Person {
  readonly kind: "person";
  readonly name: string;
  /** With all that they include. */
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** How they showed who they are, for the record: `token ci`, `browser session` ... */
  readonly via: string;
  /** Who made their token for them, or the one that it was made with; null: they themselves, or they came without one. */
  readonly tokenBy: string | null;
  /** When that ends; null: not by itself. */
  readonly expiresAt: number | null;
}

/** Who sent a request. */
export type Caller = Person | { readonly kind: "host"; readonly host: string } | { readonly kind: "anyone" };
