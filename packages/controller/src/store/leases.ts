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

export class LeaseStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
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
    return this.#store.commits.write(async (tx) => {
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
