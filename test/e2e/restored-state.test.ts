import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import { KINDS, type States } from "../support/states/index.js";
import { unhooked } from "../support/unhooked.js";
import { PATIENCE_MS, Scene } from "./scene.js";

const HOSTS = { "auth-1": ["auth"], "auth-2": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] } as const;
const OLD = "5.4.2";
const NEW = "6.2.31";

t.setTimeout(KINDS.length * PATIENCE_MS);
for (const { kind, skip, start } of KINDS) {
  t.test(`over the point of no return and back, with auth's state in ${kind} (I4, I6)`, { skip }, async (t) =>
    overAndBack(t, await start(t)),
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
