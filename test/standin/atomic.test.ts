import t, { type Test } from "tap";
import { cluster, SmallFleet } from "../support/fleet-on-disk/small-fleet.js";
import { MODULES_FROM } from "../support/standin/program.js";
import { thisInstance } from "../support/standin/src/alive.js";
import type { Backend } from "../support/standin/src/backend.js";
import { readConfig } from "../support/standin/src/config.js";
import type { Release } from "../support/standin/src/release.js";
import { openBackend } from "../support/standin/src/storage.js";
import { type KeptState, KINDS, type States } from "../support/states/index.js";

const TOGETHER = 6;

t.setTimeout(120_000);
for (const { kind, skip, start } of KINDS) {
  t.test(kind, { skip }, async (t) => nothingOverlaps(t, await start(t)));
}

/** Backends of as many auths, all alive, as processes would open them from their teleport.yaml. */
async function auths(t: Test, state: KeptState, fleet: SmallFleet, version: string): Promise<Backend[]> {
  const release: Release = { version, commit: "0000000", behaviour: { kind: "good" }, modulesFrom: MODULES_FROM };
  const storage = readConfig(fleet.host("auth-1").config).auth?.storage;
  if (storage === undefined) throw new Error("auth-1 runs no auth");
  if (state.server?.type === "postgresql") process.env.PGPASSFILE = state.server.passFile;
  const opened = await Promise.all(
    Array.from({ length: TOGETHER }, (_, i) => {
      const me = thisInstance(`auth-${i}`, version);
      return openBackend(storage, { ...me, id: `${me.id}/${version}/${i}` }, release);
    }),
  );
  t.teardown(() => Promise.all(opened.map((backend) => backend.close())));
  return opened;
}

async function nothingOverlaps(t: Test, states: States): Promise<void> {
  const state = await states.fresh();
  const layout = [{ ...cluster("main", { auth: 1 }), ...(state.server === null ? {} : { state: state.server }) }];
  const fleet = await SmallFleet.layOut(t, "5.4.2", layout);
  const old = await auths(t, state, fleet, "5.4.2");

  await t.test("of many that come in at once, all find the state filled once", async (t) => {
    const admitted = await Promise.all(old.map((backend) => backend.admit()));
    t.same(
      admitted,
      admitted.map(() => ({ kind: "ready" })),
    );
    t.equal(await old[0]?.unmigrated(), 0);
  });

  await t.test("audit events of many are one unbroken sequence", async (t) => {
    const rounds = 15;
    await Promise.all(
      old.map(async (backend) => {
        for (let i = 0; i < rounds; i++) await backend.audit();
      }),
    );
    t.same(
      (await state.audit(fleet.host("auth-1"))).map(({ seq }) => seq),
      Array.from({ length: TOGETHER * rounds }, (_, i) => i + 1),
    );
  });

  await t.test("of many that come in at a new major at once, one migrates (I5)", async (t) => {
    await Promise.all(old.map((backend) => backend.leave()));
    const fresh = await auths(t, state, fleet, "6.2.31");
    const admitted = await Promise.all(fresh.map((backend) => backend.admit()));
    t.same(admitted.map(({ kind }) => kind).sort(), ["migrate", ...Array(TOGETHER - 1).fill("wait")]);
    t.match(
      admitted.find(({ kind }) => kind === "migrate"),
      { from: "5.4.2" },
    );
    t.match(await old[0]?.admit(), { kind: "refused", why: /Unsupported upgrade path/ });
  });
}
