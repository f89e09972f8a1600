import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type AuditEvent, KINDS, type States } from "../support/states/index.js";
import { unhooked } from "../support/unhooked.js";
import { isAtFailure, PATIENCE_MS, Scene } from "./scene.js";

const HOSTS = { "auth-1": ["auth"], "auth-2": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] } as const;
const OLD = "5.4.2";
const NEW = "6.2.31";

t.setTimeout(2 * KINDS.length * PATIENCE_MS);
for (const { kind, skip, start } of KINDS) {
  t.test(`over the point of no return and back, with auth's state in ${kind} (I4, I6)`, { skip }, async (t) =>
    overAndBack(t, await start(t)),
  );
  t.test(`a migration that fails loses nothing of a state in ${kind} (I4)`, { skip }, async (t) =>
    failsAndReverts(t, await start(t)),
  );
}

async function overAndBack(t: Test, states: States): Promise<void> {
  const state = await states.fresh();
  const scene = await Scene.open(t, { hosts: HOSTS, version: OLD, releases: [{ version: NEW }], state: state.server });
  const auth = scene.host("auth-1");
  const run = await scene.start(NEW);
  await scene.leadToGate(run, "hop-1.main.node");
  await scene.runs(t, { "auth-1": NEW, "auth-2": NEW, "proxy-1": NEW, "node-1": OLD });
  t.equal(await state.version(auth), NEW);
  t.same(await state.formats(auth), [6], "auth has migrated its state");
  t.match(await state.audit(auth), [{ seq: 1, version: OLD }], "which knows what was before");
  t.ok((await state.audit(auth)).some(({ version }) => version === NEW));
  const argv = [join(auth.install, "versions", OLD, "teleport"), "start", "--config", auth.config];
  const refused = spawnSync(...unhooked(argv), { encoding: "utf8", env: { ...process.env, ...auth.service.env } });
  t.equal(refused.status, 1, "so the old binary alone can't go back");
  t.match(refused.stderr, `Unsupported upgrade path detected: from ${NEW} to ${OLD}`);

  const back = (await scene.api.rollback(run, "run")).run ?? "";
  t.equal((await scene.leadToEnd(back)).result, "done");
  await scene.runs(t, { "auth-1": OLD, "auth-2": OLD, "proxy-1": OLD, "node-1": OLD });
  t.equal(await state.version(auth), OLD);
  t.same(await state.formats(auth), [5], "in its old format");
  const events = await state.audit(auth);
  t.same(
    events,
    events.map((_, i) => ({ seq: i + 1, version: OLD })),
    "one unbroken row of events from before the upgrade to now, none of the new version's",
  );
}

/** The agent alone puts back what the swap of the first auth kept when the service had stopped. */
async function failsAndReverts(t: Test, states: States): Promise<void> {
  const state = await states.fresh();
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "node-1": ["node"] },
    version: OLD,
    releases: [{ version: "6.0.0", behaviour: "migration-fails", onlyRoles: ["auth"] }],
    state: state.server,
  });
  const auth = scene.host("auth-1");
  const run = await scene.start("6.0.0");
  await scene.leadToGate(run, "hop-1.main.auth");
  const written = await state.audit(auth);
  await scene.api.approve(run, "hop-1.main.auth");
  const failed = await scene.see(run, "a failure gate", isAtFailure);
  t.match(failed.gate?.cause, { code: "auth-failed", context: { host: "auth-1", error: "service-crashed" } });
  await scene.runs(t, { "auth-1": OLD, "node-1": OLD });
  t.same(await scene.lives("auth-1"), [OLD, "6.0.0", OLD]);
  t.equal(await state.version(auth), OLD);
  t.same(await state.formats(auth), [5]);
  const events: AuditEvent[] = await state.audit(auth);
  t.ok(events.length > written.length, `${written.length} events were there before the swap`);
  t.same(
    events,
    events.map((_, i) => ({ seq: i + 1, version: OLD })),
    "and every one of them still is",
  );
}
