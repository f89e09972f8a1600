import { thisInstance } from "../support/standin/src/alive.js";
import type { Release } from "../support/standin/src/release.js";
import { SqliteBackend } from "../support/standin/src/sqlite.js";

/** What a test's parent asks of this process, and what it is answered. */
export interface Ask {
  readonly folder: string;
  readonly release: Release;
}
export type Opened = { readonly error: string | null };

// Opens each state that it is told to and leaves it again: an auth that starts, as far as its database sees.
process.on("message", async ({ folder, release }: Ask) => {
  const answer: Opened = await open(folder, release).then(
    () => ({ error: null }),
    (error: Error) => ({ error: error.message }),
  );
  process.send?.(answer);
});

async function open(folder: string, release: Release): Promise<void> {
  const backend = await SqliteBackend.open(folder, thisInstance("auth", release.version), release);
  await backend.admit();
  await backend.close();
}
