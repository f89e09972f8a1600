import type { Host } from "../../host.js";
import { commandBackend } from "./command.js";
import { etcdBackend } from "./etcd.js";
import { postgresBackend } from "./postgres.js";

/** What the manifest says about how a backend was kept, and what reading it back must find again. */
export interface SavedState {
  /** The program that wrote it, and its version: `pg_dump 15.14`. */
  tool: string;
  /** Counts and revisions, no contents. */
  facts: Readonly<Record<string, string | number | null>>;
}

/** One kind of state backend, reached as the host's owner said. */
export interface Backend {
  readonly engine: "etcd" | "postgres" | "command";
  /** Where the state is, for manifests and messages: addresses and names, never a secret. */
  readonly from: string;
  /** How much room a backup and its reading back may take at most; null: nobody can tell. Throws if it can't be reached. */
  measure(signal: AbortSignal): Promise<number | null>;
  /** Writes a consistent copy to `path` while the service runs, holding all that was committed before. */
  save(path: string, signal: AbortSignal): Promise<SavedState>;
  /** What is wrong with such a copy, as its own programs see it; null: nothing. */
  ailment(path: string, saved: SavedState, signal: AbortSignal): Promise<string | null>;
  /**
   * Makes the backend what it was at `takenAt`. Idempotent: interrupted, it is simply repeated. The service must be
   * stopped, on every host; that is the caller's to see to.
   */
  restore(path: string, saved: SavedState & { takenAt: number }, signal: AbortSignal): Promise<void>;
}

/** Throws `backend-refused` for what agent.yaml doesn't list. */
export function openBackend(name: string, host: Host): Backend {
  const config = host.allowed.backend(name);
  if (config.kind === "etcd") return etcdBackend(name, config, host);
  if (config.kind === "postgres") return postgresBackend(name, config, host);
  return commandBackend(name, config, host);
}
