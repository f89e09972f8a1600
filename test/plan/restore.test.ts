import type { HostFact } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { factsAsPlanned, fleetAsPlanned } from "@belay/controller/plan/lint/declared";
import type { Plan, Stage } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, opsFor } from "@belay/controller/plan/program";
import { planRestore, type RestoreInput } from "@belay/controller/plan/restore";
import { sealPlan } from "@belay/controller/plan/seal";
import type { OpOf } from "@belay/shared";
import fc from "fast-check";
import t from "tap";
import { catalogueOf, factsOf, inputFor } from "../support/fleets.js";

const FLEET = `
fleet: acme
backups: { keep: 5, maxAge: 30d, copy: belayd, recipients: [age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq] }
clusters:
  - name: main
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-1, roles: [proxy] }
      - { name: node-[1:2], roles: [node] }
  - { name: eu, trusts: main, hosts: [{ name: eu-auth, roles: [auth] }, { name: eu-node, roles: [node] }] }
`;
const COPY = { sha256: "c".repeat(64), bytes: 1000, encrypted: true };

type Facts = Readonly<Record<string, string | null | Partial<HostFact>>>;

/** A whole backup of auth-1, made by 6.2.31, in a fleet that is at 6.2.31 but for `others`. */
function asked(others: Facts = {}, more: Partial<RestoreInput> = {}, backup: Partial<RestoreInput["backup"]> = {}) {
  const { fleet, profile } = inputFor(FLEET, "7.1.0");
  return {
    backup: {
      host: "auth-1",
      backup: "run-1.hop-1.auth-1",
      version: "6.2.31",
      takenAt: 1_700_000_000_000,
      verified: true,
      pruned: false,
      copy: null,
      ...backup,
    },
    safetyBackup: true,
    fleet,
    profile,
    catalogue: catalogueOf(),
    facts: factsOf(fleet, "6.2.31", others),
    quarantine: [],
    acceptRisks: [],
    ...more,
  } satisfies RestoreInput;
}

function planned(input: RestoreInput): Plan {
  const result = planRestore(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  t.same(lintPlan(result.plan, input.fleet, input.facts), [], "the linter agrees");
  t.same(
    lintPlan(result.plan, fleetAsPlanned(result.plan), factsAsPlanned(result.plan)),
    [],
    "with the plan alone too",
  );
  return result.plan;
}

function refusals(input: RestoreInput): string[] {
  const result = planRestore(input);
  if (result.ok) return [];
  return result.blocked.map(({ code, subject }) => `${code}:${subject}`);
}

const stagesOf = (plan: Plan) => plan.hops.flatMap((hop) => hop.stages);
const story = (plan: Plan) =>
  stagesOf(plan).map(({ id, program, batches, stop }) => [id, program, batches.flat(), stop]);
const opsOf = (plan: Plan, stage: string, host: string) =>
  opsFor(indexPlan(plan), { run: "run-9", stage: `hop-1.main.${stage}`, host });

t.test(
  "I5: an auth that kept its version: all auths stop, it restores behind a gate, the other starts after it",
  async (t) => {
    const plan = planned(asked());
    t.same(story(plan), [
      ["hop-1.main.preflight", "back-preflight", ["auth-1", "auth-2"], []],
      ["hop-1.main.backup", "restore-read", ["auth-1"], []],
      ["hop-1.main.auth", "back-auth-restore", ["auth-1"], ["auth-1", "auth-2"]],
      ["hop-1.main.auth-start", "back-auth-start", ["auth-2"], []],
      ["hop-1.main.verify", "back-verify", ["auth-1", "auth-2"], []],
    ]);
    t.match(stagesOf(plan)[2], { gate: { pointOfNoReturn: true }, restores: { "auth-1": "run-1.hop-1.auth-1" } });
    t.match(plan, { kind: "restore", to: "6.2.31", clusters: { main: {} }, restore: { safetyBackup: true } });
    t.same(
      opsOf(plan, "auth", "auth-1").map(({ kind }) => kind),
      ["backup", "verify-backup", "restore", "start"],
    );
    const [aside] = opsOf(plan, "auth", "auth-1") as [OpOf<"backup">];
    t.equal(aside.spec.id, "run-9.hop-1.auth-1");
    t.notOk(aside.spec.copy, "nothing is sent while every auth stands still");
    t.notOk(aside.hooks, "and no hook asks a service that is stopped");
    t.match(opsOf(plan, "backup", "auth-1")[0], { kind: "verify-backup", id: "run-1.hop-1.auth-1" });
  },
);

t.test(
  "an auth that went a major too far takes the version that made the backup, fetched where it is not kept",
  async (t) => {
    const facts: Facts = {
      "auth-1": { version: "7.1.0", kept: ["6.2.31", "7.1.0"] },
      "auth-2": { version: "7.1.0", kept: ["7.1.0"] },
    };
    const plan = planned(asked(facts));
    t.same(
      stagesOf(plan).map(({ kind, program, batches }) => [kind, program, batches.flat()]),
      [
        ["preflight", "back-preflight", ["auth-1", "auth-2"]],
        ["backup", "restore-read", ["auth-1"]],
        ["fetch", "fetch", ["auth-2"]],
        ["auth", "back-auth-first", ["auth-1"]],
        ["auth", "back-auth-rest", ["auth-2"]],
        ["verify", "back-verify", ["auth-1", "auth-2"]],
      ],
    );
    t.match(opsOf(plan, "fetch", "auth-2")[0], { kind: "fetch", version: "6.2.31" });
    t.match(opsOf(plan, "auth", "auth-1").at(-1), { kind: "swap", from: "7.1.0", to: "6.2.31", how: "start" });
    t.same(refusals(asked(facts, { catalogue: { releases: [] } })), ["artifact-missing:6.2.31 linux-amd64-oss"]);
    const bad = { releases: catalogueOf().releases.map((one) => ({ ...one, blocked: "it eats files" })) };
    t.same(refusals(asked(facts, { catalogue: bad })), ["release-blocked:6.2.31"]);
  },
);

t.test("I1, I2, I11: what would be ahead of a restored auth stays so only by name", async (t) => {
  const facts: Facts = { "auth-1": "7.1.0", "auth-2": "7.1.0", "node-2": "7.1.0", "eu-auth": "7.1.0" };
  const risks = ["left-behind:node-2", "left-behind:eu"];
  t.same(refusals(asked(facts)), risks);
  const acceptRisks = ["node-2", "eu"].map((subject) => ({ code: "left-behind", subject, by: "me", why: "known" }));
  const plan = planned(asked(facts, { acceptRisks }));
  t.same(
    plan.risks.map(({ code, subject, accepted }) => [`${code}:${subject}`, accepted?.by]),
    risks.map((risk) => [risk, "me"]),
  );
});

t.test("a node gets its identity back and keeps its version", async (t) => {
  const input = asked(
    { "node-1": "7.1.0", "auth-1": "7.1.0", "auth-2": "7.1.0", "proxy-1": "7.1.0" },
    {},
    { host: "node-1" },
  );
  const plan = planned(input);
  t.same(story(plan).slice(1, 3), [
    ["hop-1.main.backup", "restore-read", ["node-1"], []],
    ["hop-1.main.node", "restore-serving", ["node-1"], []],
  ]);
  t.match(stagesOf(plan)[2]?.gate, { kind: "node", pointOfNoReturn: true });
  t.same(
    opsOf(plan, "node", "node-1").map(({ kind }) => kind),
    ["backup", "verify-backup", "stop", "restore", "start"],
  );
  t.match(opsOf(plan, "node", "node-1")[0], { spec: { copy: { to: "belayd" } }, hooks: { service: "teleport" } });
  t.match(opsOf(plan, "verify", "node-1")[0], { kind: "health", expect: "7.1.0" });
});

t.test("with nothing left to keep aside, and the host's own backup gone, the copy does", async (t) => {
  for (const host of ["auth-1", "node-1"]) {
    const plan = planned(asked({}, { safetyBackup: false }, { host, verified: false, copy: COPY }));
    const role = host === "auth-1" ? "auth" : "node";
    const ops = opsOf(plan, role, host);
    t.notOk(ops.some(({ kind }) => kind === "backup"));
    t.match(opsOf(plan, "preflight", host)[0], { kind: "preflight", needs: [] }, "nor is room for it looked for");
    t.match(opsOf(planned(asked({}, {}, { host })), "preflight", host)[0], { needs: [{ inodes: Number }] });
    t.match(ops.find((op): op is OpOf<"restore"> => op.kind === "restore")?.copy, COPY);
    t.match(
      opsOf(plan, "backup", host)[0],
      { kind: "verify-backup", orCopy: COPY },
      "which is opened before the first stop",
    );
  }
});

t.test("what can't be restored is refused by name", async (t) => {
  t.same(refusals(asked({}, {}, { verified: false })), ["backup-missing:auth-1"]);
  t.same(refusals(asked({}, {}, { pruned: true })), ["backup-missing:auth-1"]);
  t.same(refusals(asked({}, {}, { pruned: true, copy: COPY })), [], "its copy is there");
  t.same(refusals(asked({}, {}, { host: "nobody" })), ["scope-unknown:nobody"]);
  t.same(refusals(asked({}, {}, { version: "7.1.0" })), ["backup-newer:auth-1"]);
  t.same(refusals(asked({ "auth-1": "7.1.0", "auth-2": "7.1.0" }, {}, { version: "5.4.2" })), [
    "backup-too-old:auth-1",
  ]);
  t.same(refusals(asked({ "auth-1": null })), ["host-version-unknown:auth-1"]);
  t.same(refusals(asked({ "auth-2": { version: "6.2.31", reachable: false } })), ["host-unreachable:auth-2"]);
  const quarantine = [{ host: "auth-2", reason: "burnt down" }];
  t.same(refusals(asked({ "auth-2": { version: "6.2.31", reachable: false } }, { quarantine })), [
    "left-behind:auth-2",
  ]);
  const acceptRisks = [{ code: "left-behind", subject: "auth-2", by: "me", why: "burnt down" }];
  t.same(story(planned(asked({}, { quarantine, acceptRisks })))[2], [
    "hop-1.main.auth",
    "back-auth-restore",
    ["auth-1"],
    ["auth-1"],
  ]);
});

t.test("the fleet's policy of backups is in every plan, as what runs", async (t) => {
  const input = inputFor(FLEET, "6.2.31");
  const result = planUpgrade(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  const index = indexPlan(result.plan);
  const ops = (stage: string) => opsFor(index, { run: "run-9", stage: `hop-1.main.${stage}`, host: "auth-1" });
  const policy = { to: "belayd", recipients: input.fleet.backups.recipients };
  t.same((ops("backup")[0] as OpOf<"backup">).spec.copy, policy);
  t.match(ops("verify").at(-1), { kind: "prune", keepBackups: 5, maxBackupAgeMs: 30 * 86_400_000 });
  const swap = ops("auth")[0] as OpOf<"swap">;
  t.notOk(swap.snapshot?.copy, "nothing is sent while the service stands still");
  const silent = { ...result.plan, backups: { keep: 3, maxAgeMs: null, copy: null } };
  t.match(lintPlan(sealed(silent), input.fleet, input.facts), [{ invariant: "shape", message: /backups/ }]);
});

const sealed = ({ id: _, ...content }: Plan): Plan => sealPlan(content);

t.test("the linter sees what is wrong with a restore that somebody bent", async (t) => {
  const input = asked({ "auth-1": "7.1.0", "auth-2": "7.1.0" });
  const plan = planned(input);
  const bend = (change: (stage: Stage) => Partial<Stage>) => {
    const [hop] = plan.hops;
    const stages = stagesOf(plan).map((stage) =>
      stage.id === "hop-1.main.auth" ? { ...stage, ...change(stage) } : stage,
    );
    const bent = sealed({ ...plan, hops: hop === undefined ? [] : [{ ...hop, stages }] });
    return lintPlan(bent, input.fleet, input.facts).map(({ invariant }) => invariant);
  };
  t.same(
    bend(() => ({})),
    [],
  );
  t.match(
    bend(() => ({ stop: ["auth-1"] })),
    ["I5"],
  );
  t.match(
    bend(() => ({ gate: null })),
    ["I6"],
  );
  t.match(
    bend(({ gate }) => ({ gate: gate === null ? null : { ...gate, pointOfNoReturn: false } })),
    ["I6"],
  );
  t.match(
    bend(() => ({ restores: {} })),
    ["I4"],
  );
});

t.test("whatever the fleet looks like, a restore is refused, or the linter finds nothing", async (t) => {
  const version = fc.constantFrom("5.4.2", "6.2.31", "7.1.0", null);
  const hosts = ["auth-1", "auth-2", "proxy-1", "node-1", "node-2", "eu-auth", "eu-node"];
  const facts = fc.tuple(
    ...hosts.map(() => fc.record({ version, reachable: fc.integer({ min: 0, max: 9 }).map((n) => n > 0) })),
  );
  let [ok, refused] = [0, 0];
  const check = (
    found: readonly Partial<HostFact>[],
    host: string,
    made: string | null,
    accept: boolean,
    aside: readonly string[],
  ) => {
    const others = Object.fromEntries(hosts.map((name, index) => [name, found[index] ?? {}]));
    const input = asked(
      others,
      { quarantine: aside.filter((name) => name !== host).map((name) => ({ host: name, reason: "r" })) },
      { host, version: made },
    );
    const first = planRestore(input);
    const named = first.ok ? [] : first.blocked.filter(({ code }) => code === "left-behind");
    const acceptRisks = named.map(({ code, subject }) => ({ code, subject, by: "me", why: "w" }));
    const again = accept ? { ...input, acceptRisks } : input;
    const result = planRestore(again);
    if (!result.ok) refused += 1;
    else {
      ok += 1;
      const findings = lintPlan(result.plan, input.fleet, input.facts);
      if (findings.length > 0) throw new Error(JSON.stringify(findings));
    }
  };
  fc.assert(fc.property(facts, fc.constantFrom(...hosts), version, fc.boolean(), fc.subarray(hosts), check), {
    numRuns: 2000,
  });
  t.ok(ok > 100 && refused > 100, `${ok} planned, ${refused} refused`);
});
