import { BelayError } from "@belay/shared";
import type { BackupView, CopyView } from "../api/contract.js";
import type { Artifact } from "../releases/catalogue.js";
import { CopyRecords } from "./copies.js";
import { backupVerified } from "./runs.js";
import type { Store } from "./sqlite.js";

export interface Quarantine {
  readonly host: string;
  readonly by: string;
  readonly reason: string;
  readonly at: number;
}

export interface Advisory {
  readonly version: string;
  readonly kind: "blocked" | "suspect";
  readonly reason: string;
  readonly by: string;
  readonly at: number;
}

export interface StoredArtifact extends Artifact {
  readonly version: string;
}

/** A backup with the folder it lies in on its host, which is nobody's business outside. */
export type BackupRecord = BackupView & { readonly dir: string };

const PENDING = "pending-rollback:";

/** What people and runs put on record beside the runs themselves: quarantine, advisories, artifacts, backups. */
export class RecordStore {
  readonly #store: Store;
  readonly #copies: CopyRecords;

  constructor(store: Store) {
    this.#store = store;
    this.#copies = new CopyRecords(store);
  }

  /** Idempotent; the newest reason stands. */
  async quarantine(entry: Quarantine): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("quarantine")
        .values(entry)
        .onConflict((conflict) =>
          conflict.column("host").doUpdateSet({ by: entry.by, reason: entry.reason, at: entry.at }),
        )
        .execute(),
    );
  }

  /** Idempotent. */
  async release(host: string): Promise<void> {
    await this.#store.commits.write((tx) => tx.deleteFrom("quarantine").where("host", "=", host).execute());
  }

  async quarantined(): Promise<Quarantine[]> {
    return this.#store.db.selectFrom("quarantine").selectAll().orderBy("host").execute();
  }

  /** Idempotent; the newest reason stands. */
  async advise(advisory: Advisory): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("advisories")
        .values(advisory)
        .onConflict((conflict) =>
          conflict
            .columns(["version", "kind"])
            .doUpdateSet({ reason: advisory.reason, by: advisory.by, at: advisory.at }),
        )
        .execute(),
    );
  }

  /** Idempotent. */
  async clearAdvisory(version: string, kind: Advisory["kind"]): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx.deleteFrom("advisories").where("version", "=", version).where("kind", "=", kind).execute(),
    );
  }

  async advisories(): Promise<Advisory[]> {
    const rows = await this.#store.db.selectFrom("advisories").selectAll().execute();
    return rows.map((row) => ({ ...row, kind: row.kind === "blocked" ? "blocked" : "suspect" }));
  }

  /**
   * Idempotent for the same bytes. Throws `artifact-differs` when this release already has other bytes for the platform:
   * a release never changes under people's feet.
   */
  async addArtifact(artifact: StoredArtifact, at: number): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      const there = await tx
        .selectFrom("artifacts")
        .select("sha256")
        .where("version", "=", artifact.version)
        .where("os", "=", artifact.os)
        .where("arch", "=", artifact.arch)
        .where("edition", "=", artifact.edition)
        .where("fips", "=", artifact.fips ? 1 : 0)
        .executeTakeFirst();
      if (there !== undefined && there.sha256 !== artifact.sha256) {
        throw new BelayError("artifact-differs", `${artifact.version} is already there with other bytes`, {
          hint: "A release never changes. If the stored one is wrong, block it and publish a new version.",
          context: { stored: there.sha256, offered: artifact.sha256 },
        });
      }
      await tx
        .insertInto("artifacts")
        .values({ ...artifact, fips: artifact.fips ? 1 : 0, added_at: at })
        .onConflict((conflict) => conflict.column("sha256").doNothing())
        .execute();
    });
  }

  async artifacts(): Promise<StoredArtifact[]> {
    const rows = await this.#store.db.selectFrom("artifacts").selectAll().execute();
    return rows.map(({ added_at: _, ...row }) => ({
      ...row,
      edition: row.edition as StoredArtifact["edition"],
      fips: row.fips === 1,
    }));
  }

  async backups(filter: { host?: string; run?: string; backup?: string }): Promise<BackupRecord[]> {
    let query = this.#store.db.selectFrom("backups").selectAll().orderBy("taken_at", "desc");
    if (filter.host !== undefined) query = query.where("host", "=", filter.host);
    if (filter.run !== undefined) query = query.where("run_id", "=", filter.run);
    if (filter.backup !== undefined) query = query.where("backup", "=", filter.backup);
    const rows = await query.execute();
    const copies = await this.#copies.all(filter.host === undefined ? {} : { host: filter.host });
    const copiesOf = new Map<string, CopyView[]>();
    for (const { host, backup, key: _, ...view } of copies) {
      const name = `${host} ${backup}`;
      copiesOf.set(name, [...(copiesOf.get(name) ?? []), view]);
    }
    return rows.map((row) => ({
      host: row.host,
      backup: row.backup,
      run: row.run_id,
      hop: row.hop,
      dir: row.dir,
      sha256: row.sha256,
      bytes: row.bytes,
      items: row.items,
      takenAt: row.taken_at,
      version: row.version,
      verifiedAt: row.verified_at,
      prunedAt: row.pruned_at,
      copies: copiesOf.get(`${row.host} ${row.backup}`) ?? [],
    }));
  }

  /** Throws `backup-unknown`. */
  async backup(host: string, backup: string): Promise<BackupRecord> {
    const [known] = await this.backups({ host, backup });
    if (known !== undefined) return known;
    throw new BelayError("backup-unknown", `${host} has no backup ${backup}`, {
      hint: "`belay backup list` shows them.",
    });
  }

  async copyVerified(host: string, backup: string, sha256: string, at: number): Promise<void> {
    await this.#copies.verified(host, backup, sha256, at);
  }

  /** `at`: when it was read back whole; null: it is no use any more, whatever was found before. Idempotent. */
  async backupVerified(host: string, backup: string, at: number | null): Promise<void> {
    await this.#store.commits.write((tx) => backupVerified(tx, { host, backup }, at));
  }

  /** Something asked for of a run that must not be forgotten before it is done (I14). Idempotent. */
  async setPending(run: string, request: string): Promise<void> {
    const row = { key: `${PENDING}${run}`, value: request };
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("meta")
        .values(row)
        .onConflict((conflict) => conflict.column("key").doUpdateSet({ value: request }))
        .execute(),
    );
  }

  async pending(run: string): Promise<string | null> {
    const row = await this.#store.db
      .selectFrom("meta")
      .select("value")
      .where("key", "=", `${PENDING}${run}`)
      .executeTakeFirst();
    return row?.value ?? null;
  }

  /** Idempotent. */
  async clearPending(run: string): Promise<void> {
    await this.#store.commits.write((tx) => tx.deleteFrom("meta").where("key", "=", `${PENDING}${run}`).execute());
  }

  /** The runs that something is pending for. */
  async allPending(): Promise<string[]> {
    const rows = await this.#store.db.selectFrom("meta").select("key").where("key", "like", `${PENDING}%`).execute();
    return rows.map(({ key }) => key.slice(PENDING.length));
  }
}
