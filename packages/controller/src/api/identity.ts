import type { Command } from "./command.js";

export interface IdentityView {
  readonly host: string;
  readonly present: boolean;
  /** How often it has joined. */
  readonly generation: number;
  readonly joinedAt: number;
  /** When its newest certificate ends. */
  readonly expiresAt: number;
  /** The authority of the newest that it has shown; null: it has shown none. */
  readonly issuer: string | null;
  readonly revoked: { readonly at: number; readonly by: string; readonly reason: string } | null;
}

/** An authority and how far the hosts are with it. */
export interface AuthorityView {
  /** SHA-256 of its public key. */
  readonly pin: string;
  readonly phase: "next" | "active" | "trusted";
  readonly since: number;
  readonly validUntil: number;
  /** PEM: for those who reach belayd over TLS with a tool of their own. */
  readonly certificate: string;
  /** Hosts that have it on their disk, and those that don't. */
  readonly trustedBy: number;
  readonly notTrustedBy: readonly string[];
  /** Hosts whose certificate is of this one. */
  readonly issuedTo: readonly string[];
}

/** `lose`: hosts that may be lost by this. */
export interface PhaseCommand extends Command {
  readonly lose?: readonly string[];
}
