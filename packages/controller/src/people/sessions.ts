import type { PeopleStore } from "../store/people.js";

export interface SessionParts {
  readonly store: PeopleStore;
  readonly now: () => number;
  readonly newSecret: () => string;
  readonly hash: (secret: string) => string;
  readonly sessionMs: number;
  readonly idleMs: number;
}

/** Idle time is known to this much: a write for each request would cost more than it tells. */
const USED_EVERY_MS = 60_000;

/**
 * Sign-ins of browsers. The secret lies in the browser's cookie alone; the store has its digest. A session ends when it
 * was not used for a while, after a time whatever happens, with its user, or by signing out.
 */
export class Sessions {
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** Always with a new secret, so that nobody can have planted it; the one the browser had before ends. */
  async begin(user: string, before: string | null): Promise<{ readonly secret: string; readonly expiresAt: number }> {
    const { store, now, newSecret, hash, sessionMs } = this.#parts;
    if (before !== null) await this.end(before);
    const secret = newSecret();
    const expiresAt = now() + sessionMs;
    await store.sweepSessions(now(), now() - this.#parts.idleMs);
    await store.putSession({ hash: hash(secret), user, createdAt: now(), usedAt: now(), expiresAt });
    return { secret, expiresAt };
  }

  /** Whose session this is, and until when; null: nobody's any more. */
  async userOf(secret: string): Promise<{ readonly user: string; readonly expiresAt: number } | null> {
    const { store, now, hash, idleMs } = this.#parts;
    const digest = hash(secret);
    const session = await store.session(digest);
    if (session === null) return null;
    const at = now();
    if (session.expiresAt <= at || session.usedAt + idleMs <= at) {
      await this.end(secret);
      return null;
    }
    if (at - session.usedAt >= Math.min(USED_EVERY_MS, idleMs / 4)) await store.sessionUsed(digest, at);
    return { user: session.user, expiresAt: session.expiresAt };
  }

  /** Idempotent. */
  async end(secret: string): Promise<void> {
    await this.#parts.store.endSession(this.#parts.hash(secret));
  }
}
