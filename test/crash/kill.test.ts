import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startsOf, whatRuns } from "../support/fleet-on-disk/index.js";
import { buildRelease } from "../support/standin/build-release.js";
import { FROM, STOP, TO, type Upgraded, upgradeUnderKills } from "./upgrade.js";

/** How many kills in all, and from which seed on: CRASH_KILLS=1000 CRASH_SEED=7 npm test -- test/crash */
const KILLS = Number(process.env.CRASH_KILLS ?? 200);
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);
const KILLS_AN_UPGRADE = 20;
/** One upgrade takes half a minute here; this only ends what hangs. */
const PATIENCE_MS = 60 * 60_000;

t.setTimeout(PATIENCE_MS);

t.test(
  "I14: killed at any moment, every upgrade ends at its target or at a truthful gate, and repeats no effect",
  { timeout: PATIENCE_MS },
  async (t) => {
    const out = await mkdtemp(join(tmpdir(), "belay-crash-releases-"));
    t.teardown(() => rm(out, { recursive: true }));
    const releases = await Promise.all([FROM, STOP, TO].map((version) => buildRelease({ version, out })));
    let kills = 0;
    for (let seed = SEED; kills < KILLS; seed += 1) {
      const left = KILLS - kills;
      await t.test(`seed ${seed}`, { timeout: PATIENCE_MS }, async (t) => {
        const done = await upgradeUnderKills(seed, Math.min(left, KILLS_AN_UPGRADE), releases, (upgraded) =>
          judge(t, upgraded),
        );
        t.ok(done > 0, `${done} kills`);
        kills += done;
      });
      if (!t.passing()) break;
    }
    t.comment(`${kills} kills, seeds from ${SEED}`);
  },
);

async function judge(t: Test, { kills, end, approved, events, fleet }: Upgraded): Promise<void> {
  const reverted = new Set(
    events.flatMap(({ type, outcome, step }) =>
      type === "step-ended" && (outcome as { status: string }).status === "reverted" ? [hostOf(step as string)] : [],
    ),
  );
  t.comment(`${kills.length} kills: ${kills.join(", ")}`);

  const running = await whatRuns(fleet.layout);
  if (end.status === "ended") {
    t.equal(end.result, "done");
    for (const { host, version, ready } of running) t.same({ host, version, ready }, { host, version: TO, ready: 200 });
  } else {
    // A gate is truthful when it names what is wrong, and everything that it doesn't name is as the run says.
    t.ok(end.gate?.cause, `stopped at ${end.gate?.gate}: ${end.gate?.cause?.code} ${end.gate?.cause?.message}`);
    const failed = new Set(end.failures.map(({ host }) => host));
    for (const { host, ready } of running) if (!failed.has(host)) t.equal(ready, 200, `${host} is in health`);
  }

  // I7: no step was intended twice, and no effect happened twice: each version was started once on each host.
  const intended = events.filter(({ type }) => type === "step-intended").map(({ step }) => step);
  t.equal(new Set(intended).size, intended.length, "every step has an id of its own");
  for (const { name } of fleet.layout.hosts) {
    if (reverted.has(name)) continue;
    const versions = (await startsOf(fleet.layout, name)).map(({ version }) => version);
    const expected = end.status === "ended" ? [FROM, STOP, TO] : [...new Set(versions)];
    t.same(versions, expected, `${name} started each version once`);
  }

  // What the run decided and passed is in the audit log too, whatever was killed between the two.
  const sealed = (await fleet.api.audit(`run=${end.id}`)).filter(({ action }) => action.startsWith("gate-"));
  const told = new Set(sealed.map(({ action, after }) => `${action} ${after?.events}`));
  for (const [index, { type }] of events.entries()) {
    if (!type.startsWith("gate-")) continue;
    t.ok(told.has(`${type} ${index + 1}`), `${type}, event ${index + 1}, is in the audit log`);
  }

  // I14: an approval that was acknowledged is on record.
  const recorded = new Set(events.filter(({ type }) => type === "gate-decided").map(({ gate }) => gate));
  for (const gate of approved) t.ok(recorded.has(gate), `approval of ${gate} is kept`);
}

function hostOf(step: string): string {
  return step.split("/")[2] ?? "";
}
