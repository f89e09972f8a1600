import type { HostFacts } from "@belay/shared";
import type { Store } from "./sqlite.js";

export interface AgentRow {
  readonly host: string;
  readonly journal: string | null;
  readonly lastSeenAt: number | null;
  readonly facts: HostFacts | null;
  readonly clockOffsetMs: number | null;
}

/** What the last sight of a host leaves behind. */
export interface Sighting {
  readonly host: string;
  readonly lastSeenAt: number;
  readonly facts: HostFacts | null;
  readonly clockOffsetMs: number | null;
}

/** SQLite takes 32,766 parameters a statement; a sighting has four. */
const SIGHTINGS_PER_INSERT = 2_000;

/** Agents: their tokens in the clear (hashed), where belayd.yaml allows such; their journals' ids, and what was last seen of them. */
export class AgentStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** A new token replaces the host's old one. */
  async putToken(host: string, tokenHash: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("agents")
        .values({ host, token_hash: tokenHash, created_at: at, ...nothingSeen })
        .onConflict((conflict) =>
          conflict.column("host").doUpdateSet({ token_hash: tokenHash, created_at: at, used_at: null }),
        )
        .execute(),
    );
  }

  /** Many at once, in one transaction: for enrolling a fleet. */
  async putTokens(tokens: readonly { host: string; tokenHash: string }[], at: number): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      for (const { host, tokenHash } of tokens) {
        await tx
          .insertInto("agents")
          .values({ host, token_hash: tokenHash, created_at: at, ...nothingSeen })
          .onConflict((conflict) =>
            conflict.column("host").doUpdateSet({ token_hash: tokenHash, created_at: at, used_at: null }),
          )
          .execute();
      }
    });
  }

  /** The host whose token has this hash, or null. Looking a digest up by index tells a timing attacker nothing useful. */
  async hostOfToken(tokenHash: string): Promise<string | null> {
    const row = await this.#store.db
      .selectFrom("agents")
      .select("host")
      .where("token_hash", "=", tokenHash)
      .executeTakeFirst();
    return row?.host ?? null;
  }

  /** Idempotent. True if there was one. */
  async revokeToken(host: string): Promise<boolean> {
    const result = await this.#store.commits.write((tx) =>
      tx
        .updateTable("agents")
        .set({ token_hash: null })
        .where("host", "=", host)
        .where("token_hash", "is not", null)
        .executeTakeFirst(),
    );
    return result.numUpdatedRows > 0n;
  }

  async tokens(): Promise<{ host: string; createdAt: number; usedAt: number | null }[]> {
    const rows = await this.#store.db
      .selectFrom("agents")
      .select(["host", "created_at", "used_at"])
      .where("token_hash", "is not", null)
      .orderBy("host")
      .execute();
    return rows.map((row) => ({ host: row.host, createdAt: row.created_at ?? 0, usedAt: row.used_at }));
  }

  /** The id of the journal that the agent had last; null: none is known. */
  async journalOf(host: string): Promise<string | null> {
    const row = await this.#store.db.selectFrom("agents").select("journal").where("host", "=", host).executeTakeFirst();
    return row?.journal ?? null;
  }

  /** Takes a journal for the agent's own from now on. Idempotent. */
  async saveJournal(host: string, journal: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("agents")
        .values({ ...nothingSeen, host, journal, used_at: at })
        .onConflict((conflict) =>
          conflict.column("host").doUpdateSet((eb) => ({
            journal,
            used_at: eb.fn.coalesce("agents.used_at", eb.val(at)),
          })),
        )
        .execute(),
    );
  }

  /** Everything known of all hosts; read once, at start. */
  async all(): Promise<AgentRow[]> {
    const rows = await this.#store.db.selectFrom("agents").selectAll().execute();
    return rows.map((row) => ({
      host: row.host,
      journal: row.journal,
      lastSeenAt: row.last_seen_at,
      facts: row.facts === null ? null : (JSON.parse(row.facts) as HostFacts),
      clockOffsetMs: row.clock_offset_ms,
    }));
  }

  /** Batches of last sights, a statement for thousands. Hosts without a row (revoked and forgotten) get one. */
  async saveSightings(sightings: readonly Sighting[]): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      for (let start = 0; start < sightings.length; start += SIGHTINGS_PER_INSERT) {
        await tx
          .insertInto("agents")
          .values(
            sightings.slice(start, start + SIGHTINGS_PER_INSERT).map((sighting) => ({
              host: sighting.host,
              last_seen_at: sighting.lastSeenAt,
              facts: sighting.facts === null ? null : JSON.stringify(sighting.facts),
              clock_offset_ms: sighting.clockOffsetMs,
            })),
          )
          .onConflict((conflict) =>
            conflict.column("host").doUpdateSet((eb) => ({
              last_seen_at: eb.ref("excluded.last_seen_at"),
              facts: eb.ref("excluded.facts"),
              clock_offset_ms: eb.ref("excluded.clock_offset_ms"),
            })),
          )
          .execute();
      }
    });
  }
}

const nothingSeen = { used_at: null, journal: null, last_seen_at: null, facts: null, clock_offset_ms: null };
