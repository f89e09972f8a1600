import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseStore } from "@belay/controller/store/leases";
import { openSqlite } from "@belay/controller/store/sqlite";
import t, { type Test } from "tap";

const TTL_MS = 30_000;

async function openLeases(t: Test): Promise<LeaseStore> {
  const dir = await mkdtemp(join(tmpdir(), "belay-leases-"));
  const store = openSqlite(dir);
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  return new LeaseStore(store);
}

const ask = (run: string, clusters: string[], owner: string, now: number, ownersAreDead = false) => ({
  run,
  clusters,
  owner,
  now,
  ttlMs: TTL_MS,
  ownersAreDead,
});

t.test("I13: one run at a time holds a cluster; all clusters are taken or none", async (t) => {
  const leases = await openLeases(t);
  await leases.acquire(ask("r1", ["root"], "a", 0));
  await t.rejects(leases.acquire(ask("r2", ["leaf", "root"], "a", 1)), { code: "cluster-busy" });
  const leaf = await leases.acquire(ask("r3", ["leaf"], "a", 2));
  t.same(leaf.clusters, ["leaf"]);
});

t.test("I13: the same run passes to another owner only when the first has let it expire or is dead", async (t) => {
  const leases = await openLeases(t);
  const first = await leases.acquire(ask("r1", ["root"], "a", 0));
  await t.rejects(leases.acquire(ask("r1", ["root"], "b", TTL_MS - 1)), { code: "cluster-busy" });
  const second = await leases.acquire(ask("r1", ["root"], "b", TTL_MS));
  t.ok(second.fence > first.fence, "the fencing number grows");
  t.equal(await leases.renew(first, TTL_MS + 1, TTL_MS), null, "the old owner finds out at its next heartbeat");
  t.ok((await leases.acquire(ask("r1", ["root"], "c", TTL_MS + 2, true))).fence > second.fence);
});

t.test("an expired lease of another run still holds: that run is not over, and somebody must end it", async (t) => {
  const leases = await openLeases(t);
  await leases.acquire(ask("r1", ["root"], "a", 0));
  await t.rejects(leases.acquire(ask("r2", ["root"], "a", 10 * TTL_MS)), { code: "cluster-busy", hint: /abort r1/ });
});

t.test("a released lease is free, and its number is never given again", async (t) => {
  const leases = await openLeases(t);
  const first = await leases.acquire(ask("r1", ["root"], "a", 0));
  await leases.release(first);
  await leases.release(first);
  const second = await leases.acquire(ask("r2", ["root"], "a", 1));
  t.equal(second.fence, first.fence + 1);
  t.equal(await leases.newestFence(), second.fence);
});
