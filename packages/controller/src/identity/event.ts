import type { RefusedJoin } from "../store/join-tokens.js";
import type { RefusedCertificate } from "./identities.js";

/**
 * What happened to identities, for logs and the audit log. Never with a secret in it. `from` is the address of who asked;
 * `by` is a person.
 */
export type IdentityEvent =
  | { readonly type: "join-token-created"; readonly host: string; readonly by: string; readonly expiresAt: number }
  | { readonly type: "join-token-ended"; readonly host: string; readonly by: string }
  | { readonly type: "host-joined"; readonly host: string; readonly from: string; readonly generation: number }
  /** A certificate more for the key that joined: an answer was lost, or somebody else has both key and token. */
  | {
      readonly type: "join-repeated";
      readonly host: string;
      readonly from: string;
      readonly generation: number;
      readonly sequence: number;
    }
  | {
      readonly type: "join-refused";
      readonly host: string;
      readonly from: string;
      readonly why: RefusedJoin | "proof-wrong" | "key-unfit";
      /** Whose token it was; null: nobody's. */
      readonly owner: string | null;
    }
  | { readonly type: "certificate-renewed"; readonly host: string; readonly from: string; readonly sequence: number }
  | {
      readonly type: "certificate-refused";
      readonly host: string;
      readonly from: string;
      readonly why: RefusedCertificate;
    }
  | { readonly type: "host-revoked"; readonly host: string; readonly by: string; readonly reason: string }
  /** Two live connections of one identity throw each other out: its key is in two places. */
  | { readonly type: "identity-cloned"; readonly host: string; readonly from: readonly string[] }
  | { readonly type: "ca-made" | "ca-activated" | "ca-retired"; readonly pin: string; readonly by: string }
  | { readonly type: "hosts-lost"; readonly hosts: readonly string[]; readonly by: string };

/**
 * Where events go. Settles when the event is on record, or can't be, which is logged there; never rejects, because by then it has
 * happened. Whoever hands out a certificate or a token waits for it: a crash in between leaves none that the audit log doesn't know.
 */
export type Tell = (event: IdentityEvent) => Promise<void>;

/** The severity that they are logged with. */
export function isAlarming(event: IdentityEvent): boolean {
  switch (event.type) {
    case "join-repeated":
    case "join-refused":
    case "certificate-refused":
    case "identity-cloned":
    case "host-revoked":
    case "hosts-lost":
      return true;
    default:
      return false;
  }
}
