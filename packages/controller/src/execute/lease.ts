import type { Lease, LeaseStore } from "../store/leases.js";
import type { HeldLease } from "./ports.js";

/** Long enough to sit out a slow disk, short enough that another controller takes over while people still watch. */
const LEASE_TTL_MS = 30_000;
const RENEW_EVERY_MS = 10_000;

/**
 * Takes the clusters for a run and keeps the lease alive until it is released. A lease that could not be renewed in time
 * counts as lost even if nobody took it: a controller that was asleep must not act on what it remembers (I13).
 */
export async function holdLease(parts: {
  leases: LeaseStore;
  run: string;
  clusters: readonly string[];
  owner: string;
  now: () => number;
  ownersAreDead: boolean;
  onLost: (run: string) => void;
}): Promise<HeldLease> {
  let lease: Lease | null = await parts.leases.acquire({
    run: parts.run,
    clusters: parts.clusters,
    owner: parts.owner,
    now: parts.now(),
    ttlMs: LEASE_TTL_MS,
    ownersAreDead: parts.ownersAreDead,
  });
  const { fence } = lease;
  const lose = () => {
    if (lease === null) return;
    lease = null;
    clearInterval(timer);
    parts.onLost(parts.run);
  };
  const timer = setInterval(() => {
    const current = lease;
    if (current === null) return;
    parts.leases.renew(current, parts.now(), LEASE_TTL_MS).then(
      (renewed) => {
        if (lease === null) return;
        if (renewed === null) lose();
        else lease = renewed;
      },
      () => {
        // The database did not answer; the lease stands until it expires, which `held` watches.
      },
    );
  }, RENEW_EVERY_MS);
  return {
    fence,
    get held() {
      if (lease !== null && lease.expiresAt <= parts.now()) lose();
      return lease !== null;
    },
    async release() {
      clearInterval(timer);
      const current = lease;
      lease = null;
      if (current !== null) await parts.leases.release(current);
    },
  };
}
