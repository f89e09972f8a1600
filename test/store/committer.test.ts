import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite, type Store } from "@belay/controller/store/sqlite";
import t, { type Test } from "tap";

async function openStore(t: Test): Promise<{ store: Store; dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), "belay-store-"));
  const store = openSqlite(dir);
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  return { store, dir };
}

const put = (store: Store, key: string) =>
  store.commits.write((tx) => tx.insertInto("meta").values({ key, value: "x" }).execute());

t.test("writes of one tick share a transaction, in order", async (t) => {
  const { store } = await openStore(t);
  const order: number[] = [];
  const transactions = new Set<unknown>();
  await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      store.commits.write(async (tx) => {
        transactions.add(tx);
        order.push(index);
        await tx
          .insertInto("meta")
          .values({ key: `k${index}`, value: "x" })
          .execute();
      }),
    ),
  );
  t.equal(transactions.size, 1);
  t.same(
    order,
    Array.from({ length: 100 }, (_, index) => index),
  );
});

t.test("one write that fails takes no other down with it", async (t) => {
  const { store } = await openStore(t);
  await put(store, "taken");
  const results = await Promise.allSettled([put(store, "a"), put(store, "taken"), put(store, "b")]);
  t.same(
    results.map((result) => result.status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  const rows = await store.db.selectFrom("meta").select("key").where("value", "=", "x").execute();
  t.same(rows.map((row) => row.key).sort(), ["a", "b", "taken"]);
});

t.test("a second belayd on the same folder is refused, and let in once the first has gone", async (t) => {
  const { store, dir } = await openStore(t);
  t.throws(() => openSqlite(dir), { code: "store-in-use" });
  await store.close();
  const again = openSqlite(dir);
  await again.close();
});

t.test("every commit is synced: the library's own default would lose some in a power cut (I7)", async (t) => {
  const { store } = await openStore(t);
  const { sql } = await import("kysely");
  const { rows } = await sql<{ synchronous: number }>`PRAGMA synchronous`.execute(store.db);
  t.equal(rows[0]?.synchronous, 2);
});

t.test("a database of a newer belayd is left alone", async (t) => {
  const { store, dir } = await openStore(t);
  await store.commits.write((tx) => tx.updateTable("meta").set({ value: "999" }).where("key", "=", "schema").execute());
  await store.close();
  t.throws(() => openSqlite(dir), { code: "store-newer" });
});
