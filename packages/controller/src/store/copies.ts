import type { Store } from "./sqlite.js";

/** A copy of a backup, whole in the store of copies. */
export interface CopyRow {
  readonly host: string;
  readonly backup: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly encrypted: boolean;
  /** Its name in the store of copies. */
  readonly key: string;
  readonly at: number;
  /** When it was last read back whole; null: never. */
  readonly verifiedAt: number | null;
}

/** Which copies there are. */
export class CopyRecords {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The copies of one backup, newest first. */
  async of(host: string, backup: string): Promise<CopyRow[]> {
    return (await this.all({ host })).filter((copy) => copy.backup === backup);
  }

  /** Newest first. */
  async all(filter: { readonly host?: string } = {}): Promise<CopyRow[]> {
    let query = this.#store.db.selectFrom("backup_copies").selectAll().orderBy("at", "desc");
    if (filter.host !== undefined) query = query.where("host", "=", filter.host);
    const rows = await query.execute();
    return rows.map(({ verified_at, encrypted, ...row }) => ({
      ...row,
      encrypted: encrypted === 1,
      verifiedAt: verified_at,
    }));
  }

  /** Idempotent for the same bytes. */
  async add({ verifiedAt, encrypted, ...copy }: CopyRow): Promise<void> {
    const row = { ...copy, encrypted: encrypted ? 1 : 0, verified_at: verifiedAt };
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("backup_copies")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .execute(),
    );
  }

  async verified(host: string, backup: string, sha256: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .updateTable("backup_copies")
        .set({ verified_at: at })
        .where("host", "=", host)
        .where("backup", "=", backup)
        .where("sha256", "=", sha256)
        .execute(),
    );
  }

  /** Idempotent. */
  async remove({ host, backup, sha256 }: CopyRow): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .deleteFrom("backup_copies")
        .where("host", "=", host)
        .where("backup", "=", backup)
        .where("sha256", "=", sha256)
        .execute(),
    );
  }
}
