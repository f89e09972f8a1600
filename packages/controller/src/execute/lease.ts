import { errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { Lease, LeaseStore } from "../store/leases.js";
import type { HeldLease } from "./ports.js";

/** Long enough to sit out a slow disk, short enough that another controller takes over while people still watch. */
const LEASE_TTL_MS = 30_000;
const RENEW_EVERY_MS = 10_000;

/**
 * Takes the clusters for a run and keeps the lease alive until it is released. A lease that could not be renewed in time
 * counts as lost even if nobody took it: a controller that was asleep must not act on what it remembers (I13). It is then
 * asked for again, under a new fencing number, until it is had or the run is left.
 */
export async function holdLease(parts: {
  leases: LeaseStore;
  run: string;
  clusters: readonly string[];
  owner: string;
  now: () => number;
  ownersAreDead: boolean;
  log: Logger;
  /** False: another belayd leads, whatever this one's database says. */
  leads: () => boolean;
  /** It was lost and is held again: what was decided before is to be looked at anew. */
  onRetaken: () => Promise<void>;
}): Promise<HeldLease> {
  const { leases, run, now, log } = parts;
  const acquire = () => leases.acquire({ ...parts, now: now(), ttlMs: LEASE_TTL_MS });
  let newest: Lease = await acquire();
  let lost = false;
  const lose = () => {
    if (!lost) log.error({ run }, "lost the lease: nothing more is done for this run until it is held again");
    lost = true;
  };
  const keep = async () => {
    if (!lost && newest.expiresAt <= now()) lose();
    if (lost) {
      newest = await acquire();
      lost = false;
      log.info({ run, fence: newest.fence }, "the lease is held again");
      await parts.onRetaken();
      return;
    }
    const renewed = await leases.renew(newest, now(), LEASE_TTL_MS);
    if (renewed === null) lose();
    else newest = renewed;
  };
  let keeping = false;
  const timer = setInterval(() => {
    if (keeping) return;
    keeping = true;
    keep()
      .catch((error: unknown) => log.warn({ run, error: errorInfo(error) }, "the lease can't be renewed now"))
      .finally(() => {
        keeping = false;
      });
  }, RENEW_EVERY_MS);
  return {
    get fence() {
      return newest.fence;
    },
    get held() {
      if (!lost && newest.expiresAt <= now()) lose();
      return !lost && parts.leads();
    },
    rest() {
      clearInterval(timer);
    },
    async release() {
      clearInterval(timer);
      lost = true;
      await leases.release(newest);
    },
  };
}
