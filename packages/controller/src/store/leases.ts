import { BelayError } from "@belay/shared";
import type { Store } from "./sqlite.js";

/** A hold on clusters (I13). `fence` grows with every one ever given out; agents refuse a lower one than they have seen. */
export interface Lease {
  readonly run: string;
  readonly clusters: readonly string[];
  readonly owner: string;
  readonly fence: number;
  readonly expiresAt: number;
}

/** What is known of fencing numbers here: the newest, and whose they may be. */
export interface Fencing {
  readonly newest: number;
  /** Up to here they are answered for, whoever gave them out: see `LeaseStore.raise`. */
  readonly raisedTo: number;
  /** Every start of a belayd on this database. */
  readonly lines: ReadonlySet<string>;
}

const LINE = "line ";

export class LeaseStore {
  readonly #store: Store;
  #newest = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Puts on record that a belayd of this name gives out numbers from here on, before it gives out any (I13). */
  async begin(line: string): Promise<Fencing> {
    return this.#store.commits.write(async (tx) => {
      const rows = await tx.selectFrom("meta").selectAll().execute();
      const values = new Map(rows.map(({ key, value }) => [key, value]));
      await tx
        .insertInto("meta")
        .values({ key: `${LINE}${line}`, value: values.get("fence") ?? "0" })
        .execute();
      const lines = rows.filter(({ key }) => key.startsWith(LINE)).map(({ key }) => key.slice(LINE.length));
      this.#newest = Number(values.get("fence") ?? 0);
      const raisedTo = Number(values.get("fence-raised-to") ?? 0);
      return { newest: this.#newest, raisedTo, lines: new Set([...lines, line]) };
    });
  }

  /**
   * The next number given out is higher than `above`, and what hosts know up to there is no sign of another belayd any more.
   * For a person who knows that there is none. Idempotent.
   */
  async raise(above: number): Promise<Fencing> {
    return this.#store.commits.write(async (tx) => {
      const row = await tx.selectFrom("meta").select("value").where("key", "=", "fence").executeTakeFirst();
      const newest = Math.max(above, Number(row?.value ?? 0));
      for (const key of ["fence", "fence-raised-to"]) {
        await tx
          .insertInto("meta")
          .values({ key, value: String(newest) })
          .onConflict((conflict) => conflict.column("key").doUpdateSet({ value: String(newest) }))
          .execute();
      }
      this.#newest = newest;
      return { newest, raisedTo: newest, lines: new Set() };
    });
  }

  /** The newest number that this process knows of. */
  get knownFence(): number {
    return this.#newest;
  }

  /**
   * Takes all the clusters or none. Throws `cluster-busy` when a run other than `run` holds one of them. The same run's
   * earlier lease is taken over when its owner is `owner`, when it expired, or when `ownersAreDead` (this process is known
   * to be the only controller). Every call gives a new fencing number.
   */
  async acquire(request: {
    run: string;
    clusters: readonly string[];
    owner: string;
    now: number;
    ttlMs: number;
    ownersAreDead: boolean;
  }): Promise<Lease> {
    const expiresAt = request.now + request.ttlMs;
    const lease = await this.#store.commits.write(async (tx) => {
      const held = await tx
        .selectFrom("leases")
        .selectAll()
        .where("cluster", "in", [...request.clusters])
        .execute();
      for (const lease of held) {
        const free =
          lease.run_id === request.run &&
          (request.ownersAreDead || lease.owner === request.owner || lease.expires_at <= request.now);
        if (!free) {
          throw new BelayError("cluster-busy", `cluster ${lease.cluster} is held by run ${lease.run_id}`, {
            hint: `Wait for it, or end it: belay run abort ${lease.run_id}`,
            context: { cluster: lease.cluster, run: lease.run_id },
          });
        }
      }
      const last = await tx.selectFrom("meta").select("value").where("key", "=", "fence").executeTakeFirst();
      const fence = Number(last?.value ?? 0) + 1;
      await tx
        .insertInto("meta")
        .values({ key: "fence", value: String(fence) })
        .onConflict((conflict) => conflict.column("key").doUpdateSet({ value: String(fence) }))
        .execute();
      await tx
        .insertInto("leases")
        .values(
          request.clusters.map((cluster) => ({
            cluster,
            run_id: request.run,
            owner: request.owner,
            fence,
            expires_at: expiresAt,
          })),
        )
        .onConflict((conflict) =>
          conflict
            .column("cluster")
            .doUpdateSet({ run_id: request.run, owner: request.owner, fence, expires_at: expiresAt }),
        )
        .execute();
      return { run: request.run, clusters: request.clusters, owner: request.owner, fence, expiresAt };
    });
    this.#newest = Math.max(this.#newest, lease.fence);
    return lease;
  }

  /** Prolongs a lease. Null when it is no longer ours: then this controller must not act any more (I13). */
  async renew(lease: Lease, now: number, ttlMs: number): Promise<Lease | null> {
    const expiresAt = now + ttlMs;
    const result = await this.#store.commits.write((tx) =>
      tx
        .updateTable("leases")
        .set({ expires_at: expiresAt })
        .where("run_id", "=", lease.run)
        .where("owner", "=", lease.owner)
        .where("fence", "=", lease.fence)
        .executeTakeFirst(),
    );
    return Number(result.numUpdatedRows) === lease.clusters.length ? { ...lease, expiresAt } : null;
  }

  /** The newest fencing number given out; 0 before the first. */
  async newestFence(): Promise<number> {
    const row = await this.#store.db.selectFrom("meta").select("value").where("key", "=", "fence").executeTakeFirst();
    return Number(row?.value ?? 0);
  }

  /** Idempotent. */
  async release(lease: Lease): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx.deleteFrom("leases").where("run_id", "=", lease.run).where("fence", "=", lease.fence).execute(),
    );
  }
}
