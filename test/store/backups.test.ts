import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RecordStore } from "@belay/controller/store/records";
import { RunStore } from "@belay/controller/store/runs";
import { openSqlite } from "@belay/controller/store/sqlite";
import t from "tap";

t.test("I14: what a host kept and what it pruned are on record with the event that says so", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "belay-backups-"));
  const store = openSqlite(dir);
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  const runs = new RunStore(store);
  const records = new RecordStore(store);
  let seq = 0;
  const append = (at: number, ...changes: Parameters<RunStore["append"]>[3]) => {
    seq += 1;
    return runs.append("r", seq, [{ type: "pause-asked", at, by: "ann", reason: "" }], changes);
  };
  const kept = (host: string, backup: string, takenAt: number, sha256 = "a") => {
    const result = { backup, sha256: sha256.repeat(64), bytes: 1, items: 1, takenAt, version: null, verified: true };
    return { host, run: "r", hop: "hop-1", dir: "/b", result };
  };
  await append(5, kept("auth-1", "b1", 1), kept("auth-1", "b2", 2), kept("auth-2", "b1", 3));
  await append(10, { host: "auth-1", dir: "/b", pruned: ["b1", "unheard-of"] });
  await append(11, { host: "auth-1", dir: "/elsewhere", pruned: ["b2"] });
  t.match(await records.backups({}), [
    { host: "auth-2", backup: "b1", prunedAt: null },
    { host: "auth-1", backup: "b2", prunedAt: null },
    { host: "auth-1", backup: "b1", prunedAt: 10, verifiedAt: 1 },
  ]);
  await records.backupVerified("auth-1", "b1", 12);
  t.match(await records.backup("auth-1", "b1"), { prunedAt: null, verifiedAt: 12 }, "it was put back by somebody");
  await append(13, { host: "auth-1", dir: "/b", pruned: ["b1"] }, kept("auth-1", "b1", 12, "b"));
  t.match(
    await records.backup("auth-1", "b1"),
    { prunedAt: null, takenAt: 12, sha256: "b".repeat(64) },
    "another in its place",
  );
});
