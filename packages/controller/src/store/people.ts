import type { TokenView } from "../api/contract.js";
import type { Role } from "../people/roles.js";
import type { Schema } from "./schema.js";
import type { Store } from "./sqlite.js";

export interface UserRow {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** Whom an identity provider knows them as; null: they have tokens alone. */
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly removedAt: number | null;
}

export interface SessionRow {
  readonly hash: string;
  readonly user: string;
  readonly createdAt: number;
  readonly usedAt: number;
  readonly expiresAt: number;
}

/** Users, their tokens and their sessions. A token is stored as its digest: it is random and long, and is looked up by index. */
export class PeopleStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** All that ever were, the removed ones too; read once, at start. */
  async users(): Promise<UserRow[]> {
    const rows = await this.#store.db.selectFrom("users").selectAll().execute();
    return rows.map((row) => ({
      name: row.name,
      roles: JSON.parse(row.roles) as Role[],
      groups: JSON.parse(row.groups) as string[],
      issuer: row.issuer,
      subject: row.subject,
      createdAt: row.created_at,
      createdBy: row.created_by,
      removedAt: row.removed_at,
    }));
  }

  /** Idempotent; replaces what was there. */
  async putUser(user: UserRow): Promise<void> {
    const changing = {
      roles: JSON.stringify(user.roles),
      groups: JSON.stringify(user.groups),
      issuer: user.issuer,
      subject: user.subject,
      created_at: user.createdAt,
      created_by: user.createdBy,
      removed_at: user.removedAt,
    };
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("users")
        .values({ name: user.name, ...changing })
        .onConflict((conflict) => conflict.column("name").doUpdateSet(changing))
        .execute(),
    );
  }

  /** Ends the user, their tokens and their sessions in one transaction. Idempotent. */
  async removeUser(name: string, at: number): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      await tx.updateTable("users").set({ removed_at: at }).where("name", "=", name).execute();
      await tx
        .updateTable("user_tokens")
        .set({ revoked_at: at })
        .where("user", "=", name)
        .where("revoked_at", "is", null)
        .execute();
      await tx.deleteFrom("sessions").where("user", "=", name).execute();
    });
  }

  async putToken(token: TokenView, hash: string): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("user_tokens")
        .values({
          id: token.id,
          user: token.user,
          name: token.name,
          hash,
          roles: token.roles === null ? null : JSON.stringify(token.roles),
          created_at: token.createdAt,
          created_by: token.createdBy,
          expires_at: token.expiresAt,
          used_at: token.usedAt,
          revoked_at: token.revokedAt,
        })
        .execute(),
    );
  }

  async tokens(user: string | null): Promise<TokenView[]> {
    let query = this.#store.db.selectFrom("user_tokens").selectAll().orderBy("created_at", "desc");
    if (user !== null) query = query.where("user", "=", user);
    return (await query.execute()).map(tokenOf);
  }

  async token(id: string): Promise<TokenView | null> {
    const row = await this.#store.db.selectFrom("user_tokens").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : tokenOf(row);
  }

  async tokenByHash(hash: string): Promise<TokenView | null> {
    const row = await this.#store.db.selectFrom("user_tokens").selectAll().where("hash", "=", hash).executeTakeFirst();
    return row === undefined ? null : tokenOf(row);
  }

  async tokenUsed(id: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx.updateTable("user_tokens").set({ used_at: at }).where("id", "=", id).execute(),
    );
  }

  async putSession(session: SessionRow): Promise<void> {
    const { hash, user, createdAt: created_at, usedAt: used_at, expiresAt: expires_at } = session;
    await this.#store.commits.write((tx) =>
      tx.insertInto("sessions").values({ hash, user, created_at, used_at, expires_at }).execute(),
    );
  }

  async session(hash: string): Promise<SessionRow | null> {
    const row = await this.#store.db.selectFrom("sessions").selectAll().where("hash", "=", hash).executeTakeFirst();
    if (row === undefined) return null;
    return { hash, user: row.user, createdAt: row.created_at, usedAt: row.used_at, expiresAt: row.expires_at };
  }

  async sessionUsed(hash: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx.updateTable("sessions").set({ used_at: at }).where("hash", "=", hash).execute(),
    );
  }

  /** Idempotent. */
  async endSession(hash: string): Promise<void> {
    await this.#store.commits.write((tx) => tx.deleteFrom("sessions").where("hash", "=", hash).execute());
  }

  /** Forgets those that are over, and those last used before `idleSince`. */
  async sweepSessions(now: number, idleSince: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .deleteFrom("sessions")
        .where((eb) => eb.or([eb("expires_at", "<=", now), eb("used_at", "<=", idleSince)]))
        .execute(),
    );
  }

  /** Idempotent. */
  async revokeToken(id: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .updateTable("user_tokens")
        .set({ revoked_at: at })
        .where("id", "=", id)
        .where("revoked_at", "is", null)
        .execute(),
    );
  }
}

function tokenOf(row: Schema["user_tokens"]): TokenView {
  return {
    id: row.id,
    user: row.user,
    name: row.name,
    roles: row.roles === null ? null : (JSON.parse(row.roles) as Role[]),
    createdAt: row.created_at,
    createdBy: row.created_by,
    expiresAt: row.expires_at,
    usedAt: row.used_at,
    revokedAt: row.revoked_at,
  };
}
