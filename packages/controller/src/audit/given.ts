import { readFile } from "node:fs/promises";
import { BelayError, readCheckpoint, readVerifier, type SignedCheckpoint, type Verifier } from "@belay/shared";

/** A key as it was given on a command line: itself, or the file that holds it. Throws `verifier-malformed`. */
export async function givenKey(text: string | undefined): Promise<Verifier | null> {
  if (text === undefined) return null;
  const inFile = await readFile(text, "utf8").catch(() => null);
  return readVerifier((inFile ?? text).trim());
}

/** Checkpoints that witnesses handed over, a file each. Throws `witness-unreadable`. */
export async function givenWitnesses(files: readonly string[]): Promise<SignedCheckpoint[]> {
  return Promise.all(
    files.map(async (file) => {
      try {
        return readCheckpoint(await readFile(file, "utf8"));
      } catch (cause) {
        throw new BelayError("witness-unreadable", `${file}: ${(cause as Error).message}`, {
          hint: "On a host, `belay-agent checkpoint > FILE` writes what it has seen.",
          cause,
        });
      }
    }),
  );
}
