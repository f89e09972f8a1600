import { deepStrictEqual, equal, ok } from "node:assert/strict";
import type { FleetFacts } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { factsAsPlanned, fleetAsPlanned } from "@belay/controller/plan/lint/declared";
import type { Hop, Plan, Stage } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, isMoving, opsFor, stopOpsFor, targetOf } from "@belay/controller/plan/program";
import { renderPlan } from "@belay/controller/plan/render";
import { planRollback, type RollbackInput, type RunBackup } from "@belay/controller/plan/rollback";
import { digestOf, majorOf } from "@belay/shared";
import fc from "fast-check";
import t from "tap";
import { factsOf, hostFact, inputFor } from "../support/fleets.js";

const FLEET = `
fleet: acme
clusters:
  - name: main
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-[1:2], roles: [proxy] }
      - { name: node-[1:3], roles: [node] }
  - { name: eu, trusts: main, ha: rolling, hosts: [{ name: eu-auth-[1:2], roles: [auth] }, { name: eu-node, roles: [node] }] }
`;

/** An upgrade that stopped after `done` of its stages that move hosts: what the run would say of itself. */
function stoppedAfter(done: number, to = "7.1.0", others: Record<string, string> = {}): RollbackInput {
  const input = inputFor(FLEET, to);
  const facts = factsOf(input.fleet, "5.4.2", others);
  const result = planUpgrade({ ...input, facts });
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  const { plan } = result;
  const steps = plan.hops.flatMap((hop) => hop.stages.filter(isMoving).map((stage) => ({ hop, stage })));
  const progress: Record<string, { version: string; hop: string | null }> = {};
  for (const [name, host] of Object.entries(plan.hosts)) progress[name] = { version: host.version, hop: null };
  const crossed: { hop: string; cluster: string; host: string }[] = [];
  const backups: RunBackup[] = [];
  const stopped = new Set<string>();
  for (const { hop, stage } of steps.slice(0, done)) {
    for (const host of stage.stop) stopped.add(host);
    for (const host of stage.batches.flat()) {
      const before = progress[host]?.version ?? "";
      const crosses = majorOf(before) !== majorOf(hop.to);
      const first = !crossed.some((one) => one.hop === hop.id && one.cluster === stage.cluster);
      if (stage.kind === "auth" && crosses && first) crossed.push({ hop: hop.id, cluster: stage.cluster, host });
      backups.push({ host, hop: hop.id, backup: `run-1.${hop.id}.${host}`, verified: true, pruned: false, copy: null });
      if (stage.program === "auth-first") {
        backups.push({
          host,
          hop: hop.id,
          backup: `run-1.${hop.id}.${host}.cold`,
          verified: true,
          pruned: false,
          copy: null,
        });
      }
      progress[host] = { version: hop.to, hop: hop.id };
      stopped.delete(host);
    }
  }
  return {
    plan,
    run: "run-1",
    scope: "run",
    safetyBackup: true,
    stage: steps.slice(0, Math.max(1, done)).at(-1)?.stage.id ?? "",
    progress,
    crossed,
    stopped: [...stopped],
    backups,
    fleet: input.fleet,
    profile: input.profile,
    facts: nowAt(facts, progress),
    quarantine: [],
    acceptRisks: [],
  };
}

t.test("a whole run goes back hop by hop, leaves first, nodes before proxies before auth", async (t) => {
  const plan = planned(stoppedAfter(99));
  t.same(
    plan.hops.map(({ id, from, to }) => [id, from, to]),
    [
      ["hop-1", "7.1.0", "6.2.31"],
      ["hop-2", "6.2.31", "5.4.2"],
    ],
  );
  t.same(
    plan.hops[0]?.stages.map(({ id, program, stop, gate }) => [id, program, stop, gate?.kind ?? null]),
    [
      ["hop-1.eu.backup", "restore-read", [], null],
      ["hop-1.main.backup", "restore-read", [], null],
      ["hop-1.eu.preflight", "back-preflight", [], null],
      ["hop-1.eu.node", "back-node", [], "node"],
      ["hop-1.eu.auth", "back-auth-first", ["eu-auth-1", "eu-auth-2"], "auth"],
      ["hop-1.eu.auth-rest", "back-auth-rest", [], "auth-rest"],
      ["hop-1.eu.verify", "back-verify", [], null],
      ["hop-1.main.preflight", "back-preflight", [], null],
      ["hop-1.main.node", "back-node", [], "node"],
      ["hop-1.main.proxy", "back-proxy", [], "proxy"],
      ["hop-1.main.auth", "back-auth-first", ["auth-1", "auth-2"], "auth"],
      ["hop-1.main.auth-rest", "back-auth-rest", [], "auth-rest"],
      ["hop-1.main.verify", "back-verify", [], null],
    ],
  );
  t.same(plan.undoes, { run: "run-1", plan: stoppedAfter(99).plan.id, scope: "run" });
  t.same([plan.to, plan.kind, plan.releases], ["5.4.2", "rollback", {}]);
  t.ok(
    plan.hops.every((hop) => hop.stages.every((stage) => stage.canaries === 0)),
    "no canaries",
  );
  const { id, ...content } = plan;
  t.equal(id, digestOf(content));
});

t.test(
  "the cold snapshot is restored before the binary goes back; where there is none, the backup before it",
  async (t) => {
    const plan = planned(stoppedAfter(99));
    for (const isIn of [isMoving, (stage: Stage) => stage.kind === "backup"]) {
      const stages = plan.hops.flatMap((hop) => hop.stages.filter(isIn));
      t.same(
        stages.map((stage) => stage.restores).filter((one) => one),
        [
          { "eu-auth-1": "run-1.hop-2.eu-auth-1" },
          { "auth-1": "run-1.hop-2.auth-1.cold" },
          { "eu-auth-1": "run-1.hop-1.eu-auth-1" },
          { "auth-1": "run-1.hop-1.auth-1.cold" },
        ],
        "what is put back is what is read before",
      );
    }
    t.match(opsFor(indexPlan(plan), { run: "run-2", stage: "hop-1.main.backup", host: "auth-1" }), [
      { kind: "verify-backup", id: "run-1.hop-2.auth-1.cold", orCopy: undefined },
    ]);
    const ops = opsFor(indexPlan(plan), { run: "run-2", stage: "hop-1.main.auth", host: "auth-1" });
    t.same(
      ops.map((op) => op.kind),
      ["backup", "verify-backup", "restore", "swap"],
    );
    t.match(ops[0], { spec: { id: "run-2.hop-1.auth-1" } }, "what would be lost is kept aside first");
    t.notOk("hooks" in (ops[0] ?? {}), "hooks would ask a service that is stopped");
    t.match(ops[2], { id: "run-1.hop-2.auth-1.cold", service: "teleport" });
    t.match(ops[3], { from: "7.1.0", to: "6.2.31", how: "start", sha256: null, snapshot: null });
  },
);

t.test(
  "what the host has pruned is put back from its copy, or the way back is refused before anything stops",
  async (t) => {
    const input = stoppedAfter(99);
    const copy = { sha256: "c".repeat(64), bytes: 7, encrypted: false };
    const gone = (isCopied: boolean): RollbackInput => ({
      ...input,
      backups: input.backups.map((one) =>
        one.host === "auth-1" && one.hop === "hop-1"
          ? { ...one, pruned: true, copy: isCopied && !one.backup.endsWith(".cold") ? copy : null }
          : one,
      ),
    });
    const copied = planned(gone(true)).hops.flatMap((hop) => hop.stages.filter(({ copies }) => copies !== undefined));
    t.match(copied, [{ restores: { "auth-1": "run-1.hop-1.auth-1" }, copies: { "auth-1": copy } }]);
    const refused = planRollback(gone(false));
    t.match(refused.ok ? [] : refused.blocked, [
      {
        code: "backup-missing",
        subject: "auth-1",
        message: /auth-1 has pruned what run run-1 kept in hop-1, and no copy/,
      },
    ]);
  },
);

t.test("where nothing is left to keep aside, the way back goes without, and says so", async (t) => {
  for (const [progress, program] of [
    [{ version: "6.2.31", hop: "hop-1" }, "restore-auth-first-bare"],
    [{ version: "5.4.2", hop: null }, "restore-auth-bare"],
  ] as const) {
    const after = stoppedAfter(1);
    const input = { ...after, safetyBackup: false, progress: { ...after.progress, "auth-1": progress } };
    const plan = planned({ ...input, facts: nowAt(input.facts, input.progress) });
    t.match(plan.undoes, { run: "run-1", safetyBackup: false });
    t.match(renderPlan(plan), "what auth has now: it is NOT kept aside");
    const stage = plan.hops[0]?.stages.find(({ kind }) => kind === "auth");
    t.equal(stage?.program, program);
    const ops = opsFor(indexPlan(plan), { run: "run-2", stage: stage?.id ?? "", host: "auth-1" });
    t.notOk(ops.some(({ kind }) => kind === "backup"));
    t.match(ops[0], { kind: "restore", id: "run-1.hop-1.auth-1.cold" });
  }
  const proxies = stoppedAfter(3);
  t.notOk("safetyBackup" in (planned({ ...proxies, scope: "stage", safetyBackup: false }).undoes ?? {}), "no restore");
});

t.test("in the middle of auth: the one that crossed is restored, those that only stopped are started", async (t) => {
  const input = stoppedAfter(1);
  t.same(input.stopped, ["auth-2"]);
  for (const scope of ["stage", "hop", "run"] as const) {
    const plan = planned({ ...input, scope });
    t.same(
      plan.hops[0]?.stages.map(({ id, program, batches, gate }) => [id, program, batches, gate !== null]),
      [
        ["hop-1.main.backup", "restore-read", [["auth-1"]], false],
        ["hop-1.main.preflight", "back-preflight", [["auth-1", "auth-2"]], false],
        ["hop-1.main.auth", "back-auth-first", [["auth-1"]], true],
        ["hop-1.main.auth-start", "back-auth-start", [["auth-2"]], false],
        ["hop-1.main.verify", "back-verify", [["auth-1", "auth-2"]], false],
      ],
      scope,
    );
  }
});

t.test("an auth that undid itself leaves only the others to start", async (t) => {
  const after = stoppedAfter(1);
  const input = { ...after, crossed: [], progress: { ...after.progress, "auth-1": { version: "5.4.2", hop: null } } };
  const plan = planned({ ...input, facts: nowAt(input.facts, input.progress) });
  t.same(
    plan.hops[0]?.stages.map((stage) => [stage.program, stage.batches.flat()]),
    [
      ["back-preflight", ["auth-2"]],
      ["back-auth-start", ["auth-2"]],
      ["back-verify", ["auth-2"]],
    ],
  );
});

t.test("an auth whose binary is back, and whose backend is not, is restored all the same", async (t) => {
  const after = stoppedAfter(1);
  const input = { ...after, progress: { ...after.progress, "auth-1": { version: "5.4.2", hop: null } } };
  const plan = planned({ ...input, facts: nowAt(input.facts, input.progress) });
  t.match(plan.hops[0]?.stages[2], { program: "back-auth-restore", restores: { "auth-1": "run-1.hop-1.auth-1.cold" } });
});

t.test("a way back knows services as they are defined now, whatever the run knew", async (t) => {
  const after = stoppedAfter(3);
  const was = "a".repeat(64);
  const hosts = Object.fromEntries(
    Object.entries(after.plan.hosts).map(([name, host]) => [name, { ...host, definition: was }]),
  );
  const now = nowAt(after.facts, after.progress);
  const proxy = now.hosts["proxy-1"] ?? hostFact(null);
  const facts = { ...now, hosts: { ...now.hosts, "proxy-1": { ...proxy, definition: "b".repeat(64) } } };
  const plan = planned({ ...after, plan: { ...after.plan, hosts }, facts });
  t.equal(plan.hosts["proxy-1"]?.definition, "b".repeat(64));
  t.notOk("definition" in (plan.hosts["proxy-2"] ?? {}), "nobody knows it now");
});

t.test("where a restore may have put an older unit back, the plan knows nothing of it any more", async (t) => {
  const after = stoppedAfter(99);
  const definition = "d".repeat(64);
  const now = nowAt(after.facts, after.progress);
  const facts = {
    ...now,
    hosts: Object.fromEntries(Object.entries(now.hosts).map(([name, fact]) => [name, { ...fact, definition }])),
  };
  const plan = planned({ ...after, facts });
  const index = indexPlan(plan);
  const asked = (host: string) =>
    plan.hops.flatMap((hop) =>
      hop.stages.flatMap((stage) =>
        !stage.batches.flat().includes(host)
          ? []
          : opsFor(index, { run: "r", stage: stage.id, host })
              .filter(({ kind }) => kind === "preflight" || kind === "swap")
              .map((op) => `${stage.id.split(".")[0]} ${op.kind} ${"definition" in op ? "as it was" : "whatever"}`),
      ),
    );
  const [first, second] = plan.hops.map(({ id }) => id);
  const restored = plan.hops.flatMap((hop) => hop.stages.flatMap((stage) => Object.keys(stage.restores ?? {})));
  t.ok(restored.includes("auth-1"));
  t.same(asked("auth-1"), [
    `${first} preflight as it was`,
    `${first} swap whatever`,
    `${second} preflight whatever`,
    `${second} swap whatever`,
  ]);
  t.same(asked("node-1"), [
    `${first} preflight as it was`,
    `${first} swap as it was`,
    `${second} preflight as it was`,
    `${second} swap as it was`,
  ]);
});

t.test("scope: a stage alone, a hop, and nothing left", async (t) => {
  const moving = (plan: Plan) => plan.hops.flatMap((hop) => hop.stages.filter(isMoving).map((stage) => stage.id));
  const proxies = stoppedAfter(3);
  t.same(moving(planned({ ...proxies, scope: "stage" })), ["hop-1.main.proxy"]);
  const second = stoppedAfter(99);
  t.same(
    planned({ ...second, scope: "hop" }).hops.map((hop) => hop.to),
    ["6.2.31"],
  );
  const untouched = planRollback(stoppedAfter(0));
  t.match(untouched, { ok: false, blocked: [{ code: "nothing-to-roll-back" }] });
});

t.test("inside a major no backend is restored", async (t) => {
  const from = Object.fromEntries(Object.keys(stoppedAfter(0).plan.hosts).map((name) => [name, "6.0.0"]));
  const plan = planned(stoppedAfter(99, "6.2.31", from));
  t.same(
    plan.hops.map((hop) => hop.to),
    ["6.0.0"],
  );
  t.notOk(plan.hops.some((hop) => hop.stages.some((stage) => stage.restores ?? stage.stop.length > 0)));
});

t.test("hosts return to the version each of them had", async (t) => {
  const plan = planned(stoppedAfter(99, "6.2.31", { "node-1": "5.3.0", "auth-2": "5.4.1" }));
  const others = Object.keys(plan.hosts).filter((name) => name !== "node-1");
  const targets = Object.fromEntries(others.map((name) => [name, name === "auth-2" ? "5.4.1" : "5.4.2"]));
  t.same([plan.hops[0]?.to, plan.hops[0]?.targets], ["5.3.0", targets]);
  const ops = opsFor(indexPlan(plan), { run: "run-2", stage: "hop-1.main.auth-rest", host: "auth-2" });
  t.match(ops, [{ kind: "swap", from: "6.2.31", to: "5.4.1" }]);
});

t.test("a host that was ahead before the run is ahead again only if a person says so", async (t) => {
  const input = stoppedAfter(99, "6.2.31", { "node-1": "6.0.0" });
  t.match(planRollback(input), { ok: false, blocked: [{ code: "left-behind", subject: "node-1" }] });
  planned(accepting(input, "node-1"));
});

t.test("what makes going back impossible", async (t) => {
  const input = stoppedAfter(99);
  const unverified = input.backups.map((one) => ({ ...one, verified: one.host !== "auth-1" }));
  t.match(planRollback({ ...input, backups: unverified }), {
    ok: false,
    blocked: [{ code: "backup-missing", subject: "auth-1" }],
  });
  const copy = { sha256: "c".repeat(64), bytes: 1000, encrypted: true };
  const hot = (one: RunBackup) => one.backup === "run-1.hop-2.auth-1";
  const lost = input.backups.map((one) => ({ ...one, verified: one.host !== "auth-1" || hot(one) }));
  const two = planned({ ...input, scope: "hop", backups: lost });
  t.match(two.hops[0]?.stages.find(({ id }) => id === "hop-1.main.auth")?.restores, { "auth-1": "run-1.hop-2.auth-1" });
  const copied = unverified.map((one) => (hot(one) ? { ...one, copy } : one));
  const twin = planned({ ...input, scope: "hop", backups: copied });
  const auth = twin.hops[0]?.stages.find(({ id }) => id === "hop-1.main.auth");
  t.match(auth, { restores: { "auth-1": "run-1.hop-2.auth-1" }, copies: { "auth-1": copy } }, "a copy stands in");
  t.match(twin.hops[0]?.stages[1], { program: "restore-read", copies: { "auth-1": copy } }, "and is opened before");
  const gone = { ...input.facts, hosts: { ...input.facts.hosts, "node-1": hostFact("7.1.0", { reachable: false }) } };
  t.match(planRollback({ ...input, facts: gone }), {
    ok: false,
    blocked: [{ code: "host-unreachable", subject: "node-1" }],
  });
  const aside = { ...input, facts: gone, quarantine: [{ host: "node-1", reason: "gone" }] };
  t.match(planRollback(aside), { ok: false, blocked: [{ code: "left-behind", subject: "node-1" }] });
  planned(accepting(aside, "node-1"));
  const nodes = stoppedAfter(4);
  t.match(planRollback({ ...nodes, stage: "hop-1.main.proxy", scope: "stage" }), {
    ok: false,
    blocked: [{ code: "scope-breaks-invariant", subject: "node-1" }, { subject: "node-2" }, { subject: "node-3" }],
  });
});

t.test("the linter catches rollbacks broken by hand", async (t) => {
  const input = stoppedAfter(99);
  const broken = (mutate: (stages: Draft[]) => Draft[]) => {
    const plan = structuredClone(planned(input)) as unknown as { id: string; hops: { stages: Draft[] }[] };
    const [hop] = plan.hops;
    if (hop) hop.stages = mutate(hop.stages);
    const { id: _, ...content } = plan;
    const sealed = { ...content, id: digestOf(content) } as unknown as Plan;
    return [...new Set(lintPlan(sealed, input.fleet, input.facts).map((found) => `${found.invariant} ${found.where}`))];
  };
  const auth = (stages: Draft[]) => stages.find((stage) => stage.id === "hop-1.main.auth");
  t.ok(broken((stages) => stages.filter((stage) => stage.id !== "hop-1.main.node")).includes("I1 hop-1.main.proxy"));
  const isReading = ({ program }: Draft) => program === "restore-read";
  t.ok(broken((stages) => stages.filter((stage) => !isReading(stage))).includes("I4 hop-1.main.auth"));
  t.ok(
    broken((stages) => [...stages.filter((one) => !isReading(one)), ...stages.filter(isReading)]).includes(
      "I4 hop-1.main.auth",
    ),
    "too late",
  );
  t.ok(
    broken((stages) =>
      stages.map((one) => (isReading(one) ? { ...one, restores: { "auth-1": "other" } } : one)),
    ).includes("I4 hop-1.main.auth"),
    "another one",
  );
  t.ok(broken((stages) => [...stages].reverse()).includes("I2 hop-1.main.auth"));
  t.ok(
    broken((stages) => {
      const stage = auth(stages);
      if (stage) stage.stop = ["auth-1"];
      return stages;
    }).includes("I5 hop-1.main.auth"),
  );
  t.ok(
    broken((stages) => {
      const stage = auth(stages);
      if (stage) delete stage.restores;
      return stages;
    }).includes("I4 hop-1.main.auth"),
  );
  t.ok(
    broken((stages) => {
      const stage = auth(stages);
      if (stage) stage.gate = null;
      return stages;
    }).includes("I6 hop-1.main.auth"),
  );
});
type Draft = { -readonly [K in keyof Stage]: Stage[K] };

t.test("from wherever a run stops, every scope lints clean and ends where the run began", async (t) => {
  let plans = 0;
  fc.assert(
    fc.property(
      fc.nat(14),
      fc.constantFrom("stage" as const, "hop" as const, "run" as const),
      fc.constantFrom({}, { "auth-1": "5.0.0" }, { "node-1": "6.0.0" }, { "eu-node": "5.3.0", "proxy-1": "5.2.0" }),
      (done, scope, others) => {
        let input: RollbackInput = { ...stoppedAfter(done, "7.1.0", others), scope };
        let result = planRollback(input);
        if (!result.ok && result.blocked[0]?.code === "left-behind") {
          input = accepting(input, "node-1");
          result = planRollback(input);
        }
        if (!result.ok) {
          equal(result.blocked[0]?.code, "nothing-to-roll-back", JSON.stringify(result.blocked));
          return;
        }
        plans++;
        deepStrictEqual(lintPlan(result.plan, input.fleet, input.facts), []);
        deepStrictEqual(lintPlan(result.plan, fleetAsPlanned(result.plan), factsAsPlanned(result.plan)), []);
        const index = indexPlan(result.plan);
        for (const hop of result.plan.hops) {
          for (const stage of hop.stages) {
            for (const host of stage.batches.flat())
              ok(opsFor(index, { run: "run-2", stage: stage.id, host }).length > 0);
            for (const host of stage.stop) stopOpsFor(index, { run: "run-2", stage: stage.id, host });
          }
        }
        if (scope !== "run") return;
        for (const [host, hops] of index.moves) {
          const last: Hop | undefined = result.plan.hops[hops.at(-1) ?? 0];
          equal(last && targetOf(last, host), input.plan.hosts[host]?.version, host);
        }
      },
    ),
    { numRuns: 150 },
  );
  t.ok(plans > 75, `${plans} rollbacks`);
});

function planned(input: RollbackInput): Plan {
  const result = planRollback(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked, null, 2));
  deepStrictEqual(lintPlan(result.plan, input.fleet, input.facts), []);
  return result.plan;
}

function accepting(input: RollbackInput, subject: string): RollbackInput {
  return { ...input, acceptRisks: [{ code: "left-behind", subject, by: "ann", why: "it is scrap" }] };
}

function nowAt(facts: FleetFacts, progress: RollbackInput["progress"]): FleetFacts {
  const hosts = { ...facts.hosts };
  for (const [name, { version }] of Object.entries(progress)) hosts[name] = hostFact(version);
  return { ...facts, hosts };
}
