export interface JoinTokenRequest {
  readonly host: string;
  /** How long the host may take to join. */
  readonly ttlSeconds?: number;
  /** Not for joining: shown in the clear each time, by an agent of belayd's own machine (`agents.plaintextTokens`). */
  readonly plaintext?: boolean;
}

/** `expiresAt` null: never. */
export interface JoinTokenMade {
  readonly host: string;
  readonly token: string;
  readonly expiresAt: number | null;
}

export interface JoinTokenView {
  readonly host: string;
  readonly state: "unused" | "used" | "expired" | "ended" | "plaintext";
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number | null;
  readonly usedAt: number | null;
  readonly usedFrom: string | null;
  /** How often somebody tried it in vain, such as a second time, and the last of that. */
  readonly refusals: number;
  readonly refused: { readonly at: number; readonly from: string; readonly why: string } | null;
}
