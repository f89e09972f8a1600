import { type AllowedSigner, parseAllowedSigners } from "@belay/shared";
import { readOwned } from "../owned-file.js";

/**
 * Who may approve, as the file says now. Throws `signers-invalid` for one that can't be read, isn't wholly understood, or that
 * others than its owner may write: a host that doesn't know whom to believe believes nobody.
 */
export async function readSigners(file: string): Promise<AllowedSigner[]> {
  const hint = "put the approvers' public keys there: see `approve` in agent.yaml";
  return parseAllowedSigners(await readOwned(file, "signers-invalid", hint), file);
}
