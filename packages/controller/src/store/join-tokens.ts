import type { Selectable, Transaction } from "kysely";
import { beginIdentity, type IdentityRow, rowOf } from "./identities.js";
import type { Schema } from "./schema.js";
import type { Store } from "./sqlite.js";

export interface JoinTokenRow {
  readonly host: string;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number;
  readonly endedAt: number | null;
  readonly usedAt: number | null;
  readonly usedFrom: string | null;
  /** Tries that were refused, and the last of them. */
  readonly refusals: number;
  readonly refused: { readonly at: number; readonly from: string; readonly why: string } | null;
}

/** What somebody does who wants to join. */
export interface Redemption {
  readonly secretHash: string;
  readonly host: string;
  /** Digest of the key that wants a certificate. */
  readonly key: string;
  readonly from: string;
  readonly at: number;
  readonly certificateUntil: number;
  /** What the answer will tell the host to trust. */
  readonly trusts: readonly string[];
}

export type RefusedJoin =
  | "token-unknown"
  | "token-host-mismatch"
  | "token-used"
  | "token-expired"
  | "token-ended"
  | "identity-revoked";

export type Redeemed =
  | { readonly ok: true; readonly identity: IdentityRow; readonly first: boolean }
  | { readonly ok: false; readonly why: RefusedJoin; readonly owner: string | null };

/** Used and over tokens are kept this long, for those who ask what became of them. */
const KEEP_MS = 90 * 24 * 3_600_000;

/** Tokens for joining, by their secrets' digests. */
export class JoinTokenStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Ends the host's tokens that were not used. */
  async create(made: {
    host: string;
    secretHash: string;
    pin: string;
    at: number;
    by: string;
    expiresAt: number;
  }): Promise<void> {
    const { host, at } = made;
    await this.#store.commits.write(async (tx) => {
      const over = at - KEEP_MS;
      await tx.deleteFrom("join_tokens").where("expires_at", "<", over).execute();
      await endUnused(tx, at).where("host", "=", host).execute();
      await tx
        .insertInto("join_tokens")
        .values({
          ...unused,
          secret_hash: made.secretHash,
          host,
          pin: made.pin,
          created_at: at,
          created_by: made.by,
          expires_at: made.expiresAt,
        })
        .execute();
    });
  }

  /**
   * Takes a token for one key, and begins the host's identity with it: both or neither, whatever happens. The same key may
   * ask again as long as the token lasts, because an answer can be lost; another key is refused, and that is on record.
   */
  async redeem(asked: Redemption): Promise<Redeemed> {
    // Anybody may ask: guesses are read, and cost no write.
    if (!(await this.#isKnown(asked.secretHash))) return { ok: false, why: "token-unknown", owner: null };
    return this.#store.commits.write(async (tx) => {
      const token = await tx
        .selectFrom("join_tokens")
        .selectAll()
        .where("secret_hash", "=", asked.secretHash)
        .executeTakeFirst();
      if (token === undefined) return { ok: false, why: "token-unknown", owner: null };
      const why = whyNot(token, asked);
      if (why !== null) return refuse(tx, token, asked, why);
      if (token.used_at === null) return { ok: true, first: true, identity: await useFirst(tx, token.id, asked) };
      const again = await tx
        .updateTable("identities")
        .set((eb) => ({ issued: eb("issued", "+", 1), expires_at: asked.certificateUntil }))
        .where("host", "=", asked.host)
        .where("generation", "=", token.generation)
        .where("revoked_at", "is", null)
        .returningAll()
        .executeTakeFirst();
      if (again === undefined) return refuse(tx, token, asked, "identity-revoked");
      return { ok: true, first: false, identity: rowOf(again) };
    });
  }

  async #isKnown(secretHash: string): Promise<boolean> {
    const found = await this.#store.db
      .selectFrom("join_tokens")
      .select("id")
      .where("secret_hash", "=", secretHash)
      .executeTakeFirst();
    return found !== undefined;
  }

  /** Ends a host's unused tokens. How many those were. */
  async end(host: string, at: number): Promise<number> {
    const ended = await this.#store.commits.write((tx) =>
      endUnused(tx, at).where("host", "=", host).where("expires_at", ">", at).executeTakeFirst(),
    );
    return Number(ended.numUpdatedRows);
  }

  /** Ends all that name another authority: whoever came with one would not believe us. Whose those were. */
  async endOthers(pin: string, at: number): Promise<string[]> {
    const ended = await this.#store.commits.write((tx) =>
      endUnused(tx, at).where("pin", "!=", pin).where("expires_at", ">", at).returning("host").execute(),
    );
    return ended.map(({ host }) => host);
  }

  /** Newest first. */
  async list(): Promise<JoinTokenRow[]> {
    const rows = await this.#store.db.selectFrom("join_tokens").selectAll().orderBy("id", "desc").execute();
    return rows.map((row) => ({
      host: row.host,
      createdAt: row.created_at,
      createdBy: row.created_by,
      expiresAt: row.expires_at,
      endedAt: row.ended_at,
      usedAt: row.used_at,
      usedFrom: row.used_from,
      refusals: row.refusals,
      refused:
        row.refused_at === null
          ? null
          : { at: row.refused_at, from: row.refused_from ?? "", why: row.refused_why ?? "" },
    }));
  }
}

const unused = {
  ended_at: null,
  used_at: null,
  used_from: null,
  used_key: null,
  generation: null,
  refusals: 0,
  refused_at: null,
  refused_from: null,
  refused_why: null,
};

function endUnused(tx: Transaction<Schema>, at: number) {
  return tx.updateTable("join_tokens").set({ ended_at: at }).where("used_at", "is", null).where("ended_at", "is", null);
}

function whyNot(token: Selectable<Schema["join_tokens"]>, asked: Redemption): RefusedJoin | null {
  if (token.host !== asked.host) return "token-host-mismatch";
  if (token.used_key !== null && token.used_key !== asked.key) return "token-used";
  if (token.ended_at !== null) return "token-ended";
  return asked.at >= token.expires_at ? "token-expired" : null;
}

async function refuse(
  tx: Transaction<Schema>,
  token: Selectable<Schema["join_tokens"]>,
  { at, from }: Redemption,
  why: RefusedJoin,
): Promise<Redeemed> {
  await tx
    .updateTable("join_tokens")
    .set((eb) => ({ refusals: eb("refusals", "+", 1), refused_at: at, refused_from: from, refused_why: why }))
    .where("id", "=", token.id)
    .execute();
  return { ok: false, why, owner: token.host };
}

async function useFirst(tx: Transaction<Schema>, id: number, asked: Redemption): Promise<IdentityRow> {
  const { host, at, certificateUntil, trusts } = asked;
  const identity = await beginIdentity(tx, { host, at, expiresAt: certificateUntil, trusts });
  await tx
    .updateTable("join_tokens")
    .set({ used_at: at, used_from: asked.from, used_key: asked.key, generation: identity.generation })
    .where("id", "=", id)
    .execute();
  return identity;
}
