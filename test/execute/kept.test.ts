import { backupChange, believe } from "@belay/controller/execute/kept";
import { done, failed, type Op, type OpOf, reverted } from "@belay/shared";
import t from "tap";

const sha256 = "a".repeat(64);
const result = { backup: "b", sha256, bytes: 1, items: 1, takenAt: 1, version: "5.4.2", verified: true };
const verify: Op = { kind: "verify-backup", id: "b", dir: "/backups" };
const preflight: OpOf<"preflight"> = {
  kind: "preflight",
  probe: { service: "s", versionsDir: "/v", link: "/l", version: [], checks: [], disks: [] },
  expect: null,
  needs: [],
  healthy: true,
};

t.test("I7: a done that doesn't say what its op promises counts as unknown", async (t) => {
  t.match(believe(verify, done(true), null), {
    status: "unknown",
    error: { code: "result-malformed", hint: /Upgrade/ },
  });
  t.match(believe(verify, done(true, { ...result, sha256: "short" }), null), { status: "unknown" });
  t.same(believe(verify, done(true, result), null), done(true, result));
  t.match(
    believe(verify, failed({ code: "no", message: "no" }), null),
    { status: "failed" },
    "a failure is believed as it is",
  );
});

t.test("a host whose clock is off fails its preflight, and the error says by how much", async (t) => {
  for (const [offset, words] of [
    [600_000, /600 s ahead/],
    [-600_000, /600 s behind/],
  ] as const) {
    t.match(believe(preflight, done(false), offset), {
      status: "failed",
      error: { code: "clock-skew", message: words },
    });
  }
  for (const offset of [null, 0, 4_000, -4_000]) t.match(believe(preflight, done(false), offset), { status: "done" });
});

t.test("I4: what a step kept goes on record with where and what it is", async (t) => {
  const where = { run: "r", hop: "hop-1", host: "auth-1" };
  t.same(backupChange(where, verify, done(false, result)), { ...where, dir: "/backups", result });
  t.equal(backupChange(where, verify, failed({ code: "no", message: "no" })), null);
  t.equal(backupChange(where, preflight, done(false)), null);
  const spec = { id: "b", dir: "/snapshots", items: [], version: "5.4.2" };
  const swap: Op = {
    ...{
      kind: "swap",
      service: "s",
      versionsDir: "/v",
      link: "/l",
      from: "5.4.2",
      to: "6.0.0",
      sha256: null,
      how: "restart",
    },
    ...{
      version: [],
      checks: [],
      settleMs: 0,
      startTimeoutMs: 0,
      stopTimeoutMs: 0,
      snapshot: spec,
      revertTo: "running",
    },
  };
  const error = { code: "revert-failed", message: "no", context: { snapshot: result } };
  for (const outcome of [failed(error), reverted(error)]) {
    t.same(backupChange(where, swap, outcome), { ...where, dir: "/snapshots", result }, outcome.status);
  }
  for (const snapshot of [undefined, null, { ...result, sha256: "short" }]) {
    t.equal(backupChange(where, swap, failed({ ...error, context: { snapshot } })), null);
  }
  const prune: Op = {
    ...{ kind: "prune", versionsDir: "/v", link: "/l", keep: [], backupsDir: "/backups", keepBackups: 1 },
  };
  const pruned = done(true, { versions: ["5.4.2"], backups: ["b"] });
  t.same(believe(prune, pruned, null), pruned);
  t.same(backupChange(where, prune, pruned), { host: "auth-1", dir: "/backups", pruned: ["b"] });
  t.match(believe(prune, done(true, { versions: [] }), null), { status: "unknown" });
  const restore: Op = { kind: "restore", id: "b", dir: "/backups", service: "svc" };
  const gone = failed({ code: "backup-missing", message: "gone" });
  const lost = { host: "auth-1", backup: "b", result: null };
  t.same(backupChange(where, verify, gone), lost);
  t.same(backupChange(where, restore, failed({ code: "backup-corrupt", message: "damaged" })), lost);
  const copy = { sha256: "c".repeat(64), bytes: 1, encrypted: false };
  t.equal(
    backupChange(where, { kind: "verify-backup", id: "b", dir: "/backups", copy }, gone),
    null,
    "a copy alone was read",
  );
  t.equal(backupChange(where, restore, failed({ code: "identity-missing", message: "no key" })), null);
  t.equal(backupChange(where, preflight, gone), null);
});
