import { readFile } from "node:fs/promises";
import { type AllowedSigner, BelayError, parseAllowedSigners } from "@belay/shared";

/** Whose signed approvals count, read anew each time; null: nobody says. Throws `signers-invalid`. */
export async function readApprovers(file: string | null): Promise<AllowedSigner[] | null> {
  if (file === null) return null;
  try {
    return parseAllowedSigners(await readFile(file, "utf8"), file);
  } catch (cause) {
    if (cause instanceof BelayError) throw cause;
    throw new BelayError("signers-invalid", (cause as Error).message, {
      hint: "`approvers` in belayd.yaml names an allowed_signers file.",
      cause,
    });
  }
}
