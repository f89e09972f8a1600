import type { Selectable, Transaction } from "kysely";
import type { Schema } from "./schema.js";
import type { Store } from "./sqlite.js";

/** What is kept of one host's identity; its certificates are numbered, not kept (docs/decisions/0035). */
export interface IdentityRow {
  readonly host: string;
  readonly generation: number;
  readonly issued: number;
  readonly used: number;
  readonly usedAt: number | null;
  readonly issuer: string | null;
  readonly expiresAt: number;
  readonly joinedAt: number;
  readonly revoked: { readonly at: number; readonly by: string; readonly reason: string } | null;
  /** Authorities that the host has on its disk; null: it has not said. */
  readonly trusts: readonly string[] | null;
}

export class IdentityStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Every host's; read once, at start. */
  async all(): Promise<IdentityRow[]> {
    return (await this.#store.db.selectFrom("identities").selectAll().execute()).map(rowOf);
  }

  /** Counts another certificate of the present life. Null: there is none, or it was revoked. */
  async issue(host: string, generation: number, expiresAt: number): Promise<IdentityRow | null> {
    return this.#store.commits.write(async (tx) => {
      const row = await tx
        .updateTable("identities")
        .set((eb) => ({ issued: eb("issued", "+", 1), expires_at: expiresAt }))
        .where("host", "=", host)
        .where("generation", "=", generation)
        .where("revoked_at", "is", null)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? null : rowOf(row);
    });
  }

  /** A certificate was shown that is newer than those before. Idempotent. */
  async saveUse(row: IdentityRow): Promise<void> {
    const { host, generation, issued, used, usedAt, issuer } = row;
    await this.#store.commits.write((tx) =>
      tx
        .updateTable("identities")
        .set({ issued, used, used_at: usedAt, issuer })
        .where("host", "=", host)
        .where("generation", "=", generation)
        .execute(),
    );
  }

  async saveTrusts(host: string, generation: number, trusts: readonly string[]): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .updateTable("identities")
        .set({ trusts: trusts.join(",") })
        .where("host", "=", host)
        .where("generation", "=", generation)
        .execute(),
    );
  }

  /** Null: there is no identity of this host, or none that is not revoked already. */
  async revoke(host: string, revoked: NonNullable<IdentityRow["revoked"]>): Promise<IdentityRow | null> {
    return this.#store.commits.write(async (tx) => {
      const row = await tx
        .updateTable("identities")
        .set({ revoked_at: revoked.at, revoked_by: revoked.by, revoked_reason: revoked.reason })
        .where("host", "=", host)
        .where("revoked_at", "is", null)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? null : rowOf(row);
    });
  }
}

/** Begins the next life of a host's identity, with its first certificate: those of the lives before are over. */
export async function beginIdentity(
  tx: Transaction<Schema>,
  begun: { host: string; at: number; expiresAt: number; trusts: readonly string[] },
): Promise<IdentityRow> {
  const fresh = {
    issued: 1,
    used: 0,
    used_at: null,
    issuer: null,
    expires_at: begun.expiresAt,
    joined_at: begun.at,
    revoked_at: null,
    revoked_by: null,
    revoked_reason: null,
    trusts: begun.trusts.join(","),
  };
  const row = await tx
    .insertInto("identities")
    .values({ host: begun.host, generation: 1, ...fresh })
    .onConflict((conflict) =>
      conflict.column("host").doUpdateSet((eb) => ({ ...fresh, generation: eb("identities.generation", "+", 1) })),
    )
    .returningAll()
    .executeTakeFirstOrThrow();
  return rowOf(row);
}

export function rowOf(row: Selectable<Schema["identities"]>): IdentityRow {
  return {
    host: row.host,
    generation: row.generation,
    issued: row.issued,
    used: row.used,
    usedAt: row.used_at,
    issuer: row.issuer,
    expiresAt: row.expires_at,
    joinedAt: row.joined_at,
    revoked:
      row.revoked_at === null
        ? null
        : { at: row.revoked_at, by: row.revoked_by ?? "", reason: row.revoked_reason ?? "" },
    trusts: row.trusts === null ? null : row.trusts.split(","),
  };
}
