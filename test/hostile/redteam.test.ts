import { MAX_FENCE, type Op } from "@belay/shared";
import fc from "fast-check";
import t from "tap";
import { RedHost } from "./redteam/host.js";
import { approvedStep, disorders, lootOf, opsOf, SIGNERS } from "./redteam/loot.js";
import { attacks, greetings, unproven } from "./redteam/messages.js";

/** `npm run redteam -- --count 1000000 --seed 7` sets these. */
const COUNT = Number(process.env.BELAY_REDTEAM_COUNT ?? 100_000);
const SEED = Number(process.env.BELAY_REDTEAM_SEED ?? Date.now() % 2 ** 31);
/** What a thief runs into. */
const REFUSALS = [
  "approval-before-journal",
  "approval-expired",
  "approval-missing",
  "approval-not-yet-valid",
  "approval-unknown-signer",
  "approval-wrong-fleet",
  "approval-wrong-gate",
  "approval-wrong-host",
  "approval-wrong-plan",
  "approval-wrong-run",
  "out-of-order",
  "proof-invalid",
  "signature-invalid",
  "statement-malformed",
];
/** Fewer than may wait in an agent at once. */
const BATCH = 50;
const LOOK_EVERY = 5_000;
const RECONNECT_EVERY = 500;

t.setTimeout(Math.max(600_000, COUNT * 10));

t.test(
  "red team: a stolen belayd, without an approver's key, has no effect on a host (CVE-2020-11651, CVE-2020-11652)",
  async (t) => {
    const host = await RedHost.open(SIGNERS);
    t.teardown(() => host.close());
    const { line } = host;
    const loot = lootOf(host.dir);
    await line.ask(loot.done.plan.step(0, loot.done.approvals));
    t.same(host.effects.splice(0), ["stops the service"], "what was approved has been done");

    const arbitrary = attacks(loot, host.dir);
    const greeting = greetings(host.dir);
    const sent = new Map<string, number>();
    t.comment(`seed ${SEED}, ${COUNT} messages`);
    /** What belayd itself, in its right hands again, would have been answered. */
    const locked: string[] = [];
    let count = 0;
    for (let batch = 0; count < COUNT; batch += 1) {
      const chosen = fc.sample(arbitrary, { numRuns: BATCH, seed: SEED + batch });
      const [hello = ""] = fc.sample(greeting, { numRuns: 1, seed: SEED + batch });
      // One that is none would keep it out for ever.
      line.greetings.push(hello);
      for (const { name, frame } of chosen) {
        await line.say(frame);
        sent.set(name, (sent.get(name) ?? 0) + 1);
      }
      count += chosen.length;
      // An approved step may have raised the fence; belayd can be raised above whatever is there (docs/audit.md).
      const after = await line.ask({ ...unproven({ kind: "noop" }, `after-${batch}`), fence: MAX_FENCE });
      if (after.outcome.status !== "done") locked.push(JSON.stringify(after.outcome));
      if (count % RECONNECT_EVERY === 0) await line.say("no message");
      if (host.effects.length > 0 || count % LOOK_EVERY === 0) {
        const harm = host.harm();
        if (harm.length === 0) continue;
        t.same(
          harm,
          [],
          `seed ${SEED}, batch ${batch}: ${chosen.map(({ name, frame }) => `${name}: ${frame}`).join("\n")}`,
        );
        return;
      }
    }
    t.same(host.harm(), [], "the host is as it was");
    t.same(host.defects, [], "nothing surprised it");
    const witnessed = host.witnessed();
    const odd = witnessed.filter(
      (name) => !/^(trusted\.json|refused|(refused\/)?[A-Za-z0-9._-]+\.checkpoint)$/.test(name),
    );
    t.same(odd, [], "what it remembers of audit logs is where that belongs");
    t.ok(witnessed.length > 0 && witnessed.length < 60, `and little: ${witnessed.length} files`);
    t.ok(count >= COUNT, `${count} messages on ${line.connections} connections`);
    for (const [name, times] of sent) t.ok(times > COUNT / 200, `${times} times: ${name}`);
    const told = (counts: ReadonlyMap<string, number>) => [...counts].map(([code, n]) => `${code} ${n}`).join(", ");
    t.comment(`refused: ${told(host.refusals)}`);
    t.comment(`outcomes: ${told(line.outcomes)}`);
    for (const code of REFUSALS) t.ok((host.refusals.get(code) ?? 0) > 0, `some were refused as ${code}`);
    t.same(locked.slice(0, 3), [], "none of them could keep belayd itself out");
  },
);

t.test("red team: each piece of loot, for itself", async (t) => {
  const host = await RedHost.open(SIGNERS);
  t.teardown(() => host.close());
  const { all } = lootOf(host.dir);
  let asked = 0;
  for (const { plan, approvals } of all) {
    for (const [at, { gate }] of plan.leaves.entries()) {
      const fitting = approvals.filter(({ statement }) => statement.includes(`"gate":"${gate}"`));
      for (const words of [fitting, approvals.slice(0, 16)]) {
        const { outcome } = await host.line.ask(plan.step(at, words, { attempt: ++asked }));
        if (outcome.status !== "failed") t.fail(`${gate} of ${plan.run}: ${JSON.stringify(outcome)}`);
      }
    }
  }
  t.same(host.harm(), [], `${asked} steps, and the host is as it was`);
});

t.test("red team: replayed and reordered (replay: CVE-2024-38823)", async (t) => {
  for (const { name } of disorders()) {
    const host = await RedHost.open(SIGNERS);
    t.teardown(() => host.close());
    // Signed anew: what is older than a host's journal doesn't count there.
    const { first = [], asked } = disorders().find((each) => each.name === name) ?? {};
    if (asked === undefined) throw new RangeError(name);
    for (const step of first) t.match(await host.line.ask(step), { outcome: { status: "done" } });
    const before = host.harm().length;
    const answer = await host.line.ask(asked);
    t.equal(host.harm().length, before, `${name}: ${JSON.stringify(answer.outcome)}`);
  }
});

t.test("red team: no number locks a host out of its own first word", async (t) => {
  const host = await RedHost.open(SIGNERS);
  t.teardown(() => host.close());
  const { harmless } = lootOf(host.dir);
  const beyond = harmless.plan.step(0, harmless.approvals, { fence: 2 ** 41 });
  t.match(await host.line.ask(beyond), { outcome: { status: "failed", error: { code: "fenced" } } });
  await host.line.say("no message");
  const again = harmless.plan.step(0, harmless.approvals, { attempt: 2 });
  t.match(await host.line.ask(again), { outcome: { status: "done" } }, "it came back, and takes what is right");
});

t.test("red team: the same host does what enough people approved, and this test sees it", async (t) => {
  const effects: [Op["kind"], RegExp][] = [
    ["backup", /srv\/backups\/b-1\/manifest\.json is not as it was/],
    ["swap", /stops the service.*starts the service/],
    ["stop", /stops the service/],
    ["start", /starts the service/],
    ["fetch", /GETs https:\/\/belay\.internal:7443\/v1\/artifacts/],
    ["prune", /srv\/versions\/6\.0\.0 is not as it was/],
  ];
  for (const [kind, effect] of effects) {
    const host = await RedHost.open(SIGNERS);
    t.teardown(() => host.close());
    const op = opsOf(host.dir).find((each) => each.kind === kind);
    if (op === undefined) throw new RangeError(kind);
    await host.line.ask(approvedStep("run-1", op));
    t.match(host.harm().join("; "), effect, kind);
  }
});
