import { BelayError } from "@belay/shared";
import type { Host } from "../../host.js";
import { filterTool, type Tool } from "../tool.js";

/** A program, not a library: the agent has no room for another package, and its users have age for reading copies by hand. */
const AGE: Tool = { pkg: "age", why: "it encrypts and decrypts the copies of backups" };

/** Encrypts a stream to the public keys of its readers. */
export function encrypted(
  stream: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
  host: Pick<Host, "exec">,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const argv = ["age", "--encrypt", ...recipients.flatMap((recipient) => ["--recipient", recipient])];
  return filterTool(host.exec, AGE, argv, stream, { signal });
}

/** Decrypts one by the identity that the host's owner named. Throws `identity-missing`, `copy-unreadable`. */
export async function* decrypted(
  stream: AsyncIterable<Uint8Array>,
  host: Pick<Host, "exec" | "identityFile">,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (host.identityFile === null) {
    throw new BelayError("identity-missing", "the copy is encrypted, and this host has no identity to read it by", {
      hint: "name the age identity as `identityFile` in agent.yaml, for as long as it is needed",
    });
  }
  try {
    yield* filterTool(host.exec, AGE, ["age", "--decrypt", "--identity", host.identityFile], stream, { signal });
  } catch (error) {
    if (!(error instanceof BelayError) || error.code !== "command-failed") throw error;
    throw new BelayError("copy-unreadable", `the copy can't be decrypted: ${error.message}`, {
      hint: "see that `identityFile` in agent.yaml holds the identity of one of its recipients",
      cause: error,
    });
  }
}
