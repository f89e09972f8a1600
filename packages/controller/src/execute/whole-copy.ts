import type { StoredCopy } from "@belay/shared";
import type { CopyView } from "../api/contract.js";

/** The newest copy that was read back whole, as an op names it; null: none. */
export function wholeCopy(copies: readonly CopyView[]): StoredCopy | null {
  const copy = copies.find(({ verifiedAt }) => verifiedAt !== null);
  return copy === undefined ? null : { sha256: copy.sha256, bytes: copy.bytes, encrypted: copy.encrypted };
}
