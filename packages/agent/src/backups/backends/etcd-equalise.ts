import type { Change, EtcdGateway, KeyValue } from "./etcd-gateway.js";

/** etcd takes 128 changes in one transaction unless told otherwise, and 1.5 MB in one request. */
const BATCH_CHANGES = 100;
const BATCH_BYTES = 512 * 1024;

export interface Equalised {
  put: number;
  removed: number;
  kept: number;
}

/**
 * Makes what is below `prefix` in `live` what it is in `snapshot`, with as few changes as that takes. Both are read in
 * the order of their keys, side by side, so memory holds a page of each and a batch. Idempotent: repeated after a crash, it
 * goes on with what still differs. `leaseFor` says what becomes of a key that had a lease: another one, or (undefined) it
 * is not put back.
 */
export async function equalise(
  snapshot: EtcdGateway,
  live: EtcdGateway,
  prefix: string,
  leaseFor: (lease: string) => Promise<string | undefined>,
): Promise<Equalised> {
  const done: Equalised = { put: 0, removed: 0, kept: 0 };
  const batch: Change[] = [];
  let bytes = 0;
  const flush = async () => {
    if (batch.length > 0) await live.change(batch);
    batch.length = 0;
    bytes = 0;
  };
  const add = async (change: Change, size: number) => {
    if (batch.length >= BATCH_CHANGES || bytes + size > BATCH_BYTES) await flush();
    batch.push(change);
    bytes += size;
  };
  for await (const [wanted, found] of sideBySide(snapshot.keys(prefix), live.keys(prefix))) {
    if (wanted !== null && found !== null && same(wanted, found)) {
      done.kept += 1;
      continue;
    }
    const lease = wanted === null || wanted.lease === null ? null : await leaseFor(wanted.lease);
    if (wanted !== null && lease !== undefined) {
      await add({ put: { ...wanted, lease } }, wanted.key.length + wanted.value.length);
      done.put += 1;
    } else if (found !== null) {
      await add({ remove: found.key }, found.key.length);
      done.removed += 1;
    }
  }
  await flush();
  return done;
}

/** How many keys that never expire still differ. */
export async function differences(snapshot: EtcdGateway, live: EtcdGateway, prefix: string): Promise<number> {
  let count = 0;
  for await (const [wanted, found] of sideBySide(snapshot.keys(prefix), live.keys(prefix))) {
    // What has a lease may go at any moment, on either side.
    if ((wanted?.lease ?? null) !== null || (found?.lease ?? null) !== null) continue;
    if (wanted === null || found === null || !same(wanted, found)) count += 1;
  }
  return count;
}

/** The same value, and equally mortal: the leases themselves have other ids. */
function same(one: KeyValue, other: KeyValue): boolean {
  return one.value.equals(other.value) && (one.lease === null) === (other.lease === null);
}

type Pair = [KeyValue | null, KeyValue | null];

/** Two ordered rows of keys as one: each key once, with what either row has under it. */
async function* sideBySide(left: AsyncGenerator<KeyValue>, right: AsyncGenerator<KeyValue>): AsyncGenerator<Pair> {
  let [one, other] = [await left.next(), await right.next()];
  while (!one.done || !other.done) {
    const order = one.done ? 1 : other.done ? -1 : Buffer.compare(one.value.key, other.value.key);
    yield [order <= 0 && !one.done ? one.value : null, order >= 0 && !other.done ? other.value : null];
    if (order <= 0) one = await left.next();
    if (order >= 0) other = await right.next();
  }
}
