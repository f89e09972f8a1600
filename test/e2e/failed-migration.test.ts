import t from "tap";
import { processesOf } from "../support/fleet-on-disk/index.js";
import { auditOf, backendOf } from "./backend.js";
import { isAtFailure, PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test("a migration that fails loses nothing that auth had written", { timeout: PATIENCE_MS }, async (t) => {
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "auth-2": ["auth"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "6.0.0", behaviour: "migration-fails", onlyRoles: ["auth"] }, { version: "6.1.0" }],
  });
  const auth = scene.host("auth-1");
  const run = await scene.start("6.0.0");
  await scene.leadToGate(run, "hop-1.main.auth");
  const written = new Map<number, number>();
  await scene.api.approve(run, "hop-1.main.auth");
  const failed = await scene.see(run, "a failure gate", (view) => {
    for (const { seq, at } of auditOf(auth)) written.set(seq, at);
    return isAtFailure(view);
  });

  t.match(failed.gate?.cause, { code: "auth-failed", context: { host: "auth-1", error: "service-crashed" } });
  t.match(
    failed.stages.filter(({ id }) => id.endsWith(".node")),
    [{ status: "pending" }],
    "no node was touched",
  );
  t.equal(await refusalOf(scene.api.command(run, "skip")), "host-needed", "nobody may go on without this auth");
  await scene.runs(t, { "auth-1": "5.4.2", "node-1": "5.4.2" });
  t.same(await scene.lives("auth-1"), ["5.4.2", "6.0.0", "5.4.2"]);
  t.same(await processesOf([scene.host("auth-2")]), [], "the other auth is down, as this stage asks for (I5)");
  const kept = new Map(auditOf(auth).map(({ seq, at }) => [seq, at]));
  t.ok(written.size > 0, `${written.size} events were seen before`);
  t.same(
    [...written].filter(([seq, at]) => kept.get(seq) !== at),
    [],
    "every event is there still, after the restore",
  );
  t.same(backendOf(auth), { version: "5.4.2", corrupted: null, formats: [5] }, "the backend is the old one, and whole");

  const [snapshot] = (await scene.api.backups(run, "auth-1")).filter(({ backup }) => backup.endsWith(".cold"));
  t.match(snapshot, { verifiedAt: Number, version: "5.4.2" }, "what it kept while it stood still is on record (I4)");

  await scene.api.command(run, "abort");
  await scene.see(run, "its end", ({ result }) => result === "aborted");
  t.same(await processesOf([scene.host("auth-2")]), [], "an abort starts nothing");
  const back = await scene.api.rollback(run, "run");
  t.match(back.plan, { ok: true }, "a run that has ended can still be rolled back");
  t.equal((await scene.leadToEnd(back.run ?? "")).result, "done");
  await scene.runs(t, { "auth-1": "5.4.2", "auth-2": "5.4.2", "node-1": "5.4.2" });
  t.match(backendOf(auth), { corrupted: null, formats: [5] });
  const good = await scene.start("6.1.0");
  t.equal((await scene.leadToEnd(good)).result, "done", "and a good release goes through");
  await scene.runs(t, { "auth-1": "6.1.0", "auth-2": "6.1.0", "node-1": "6.1.0" });
});
