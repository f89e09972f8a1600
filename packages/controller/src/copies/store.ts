import type { Readable } from "node:stream";

/** Where copies of backups lie. Keys are `<host>/<name>`, made by `Copies` alone. */
export interface CopyStore {
  /** How people know it: `folder /var/lib/belay/backups`. */
  readonly place: string;
  /** Room for what a crash left half-way. At the start, when nothing can be under way. */
  sweep(): Promise<void>;
  /**
   * Stores what comes, however much that is, in bounded memory. Visible when whole or not at all; replaces what was there.
   * Throws `copy-store-full`, `copy-store-unreachable`, `copy-store-refused`, and whatever the body throws.
   */
  put(key: string, body: Readable): Promise<void>;
  /** The bytes as they are asked for; null when there is no such key. */
  get(key: string): Promise<Readable | null>;
  /** Idempotent. */
  remove(key: string): Promise<void>;
}
