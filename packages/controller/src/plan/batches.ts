import type { Amount, RolloutPolicy } from "../inventory/fleet.js";

/** An amount of so many hosts, rounded down: half of three is one, so that what stays behind is never the smaller part. */
export function amountOf(amount: Amount, hosts: number): number {
  return typeof amount === "number" ? amount : Math.floor((hosts * Number.parseInt(amount, 10)) / 100);
}

/**
 * Splits a stage's hosts, in their order: first the canaries together, then batch after batch; the last size repeats.
 * Shares are of the whole stage, and at least one host.
 */
export function splitBatches<T>(hosts: readonly T[], policy: RolloutPolicy): { batches: T[][]; canaries: number } {
  const canary = Math.min(policy.canary, hosts.length);
  const batches = canary > 0 ? [hosts.slice(0, canary)] : [];
  const canaries = batches.length;
  for (let start = canary, turn = 0; start < hosts.length; turn++) {
    const amount = policy.batch[Math.min(turn, policy.batch.length - 1)] ?? 1;
    const size = Math.max(1, amountOf(amount, hosts.length));
    batches.push(hosts.slice(start, start + size));
    start += size;
  }
  return { batches, canaries };
}
