import type { Role } from "../people/roles.js";

/** Who belayd takes the caller for. */
export interface Whoami {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  readonly via: string;
  readonly expiresAt: number | null;
}

export interface UserView {
  readonly name: string;
  readonly roles: readonly Role[];
  /** Those of belayd.yaml too. */
  readonly groups: readonly string[];
  /** The identity provider that knows them; null: they have tokens alone. */
  readonly issuer: string | null;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface NewUser {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups?: readonly string[];
  /** True: somebody who was removed is back. */
  readonly again?: boolean;
}

/** What is left out stays. */
export interface UserChange {
  readonly roles?: readonly Role[];
  readonly groups?: readonly string[];
}

export interface TokenRequest {
  readonly name: string;
  /** Whose; absent: one's own. */
  readonly user?: string;
  /** What it is good for; absent: whatever its user may do at the time. */
  readonly roles?: readonly Role[];
  readonly ttlMs?: number;
}

export interface TokenView {
  /** The beginning of its digest: names it, and opens nothing. */
  readonly id: string;
  readonly user: string;
  readonly name: string;
  readonly roles: readonly Role[] | null;
  readonly createdAt: number;
  /** Who made it, or made the one that it was made with: who has had it, or one like it, in hand besides its user. */
  readonly createdBy: string;
  readonly expiresAt: number;
  readonly usedAt: number | null;
  readonly revokedAt: number | null;
}

export interface TokenAnswer extends TokenView {
  readonly token: string;
}
