import type { PlanInput } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import type { Plan, PlanResult, Stage } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { digestOf } from "@belay/shared";
import t from "tap";
import { catalogueOf, factsOf, hostFact, inputFor } from "../support/fleets.js";

const ACME = `
fleet: acme
clusters:
  - name: main
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-[1:2], roles: [proxy] }
      - { name: node-[1:5], roles: [node] }
  - { name: eu, trusts: main, hosts: [{ name: eu-all, roles: [auth, proxy, node] }, { name: eu-node, roles: [node] }] }
`;
const SMALL = `
fleet: small
clusters: [{ name: main, hosts: [{ name: auth-1, roles: [auth] }, { name: proxy-1, roles: [proxy] }, { name: node-[1:3], roles: [node] }] }]
`;

t.test("hops: one major at a time, each to the newest good release of its major", async (t) => {
  const plan = planned(t, inputFor(ACME, "7.1.0"));
  t.same(
    plan.hops.map(({ id, from, to }) => [id, from, to]),
    [
      ["hop-1", "5.4.2", "6.2.31"],
      ["hop-2", "6.2.31", "7.1.0"],
    ],
  );
});

t.test("hops: a blocked or suspect release and a pre-release are no stop; --via chooses one", async (t) => {
  const releases = catalogueOf(["5.4.2", "6.0.0", "6.1.0", "6.2.0", "6.3.0-rc.1", "7.1.0"]).releases;
  const catalogue = {
    releases: releases.map((release) =>
      release.version === "6.2.0"
        ? { ...release, blocked: "bad" }
        : release.version === "6.1.0"
          ? { ...release, suspect: "was rolled back" }
          : release,
    ),
  };
  t.equal(planned(t, inputFor(SMALL, "7.1.0", { catalogue })).hops[0]?.to, "6.0.0");
  t.equal(planned(t, inputFor(SMALL, "v7.1.0", { via: ["6.0.0"] })).hops[0]?.to, "6.0.0");
});

t.test("hops: inside a major there is one", async (t) => {
  const input = inputFor(SMALL, "6.2.31");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "6.0.0", { "node-1": "6.1.0" }) });
  t.same(
    plan.hops.map(({ from, to }) => [from, to]),
    [["6.0.0", "6.2.31"]],
  );
  t.same(
    stagesNamed(plan, "auth").map((stage) => [stage.program, stage.gate?.pointOfNoReturn]),
    [["auth-minor", false]],
  );
});

t.test("order: the root wholly before its leaf, roles in order, behind their gates", async (t) => {
  const plan = planned(t, inputFor(ACME, "6.2.31"));
  t.same(
    plan.hops[0]?.stages.map(({ id, batches, gate, stop }) => [
      id,
      batches.map((batch) => batch.length),
      gate?.kind ?? null,
      stop,
    ]),
    [
      ["hop-1.main.preflight", [9], null, []],
      ["hop-1.main.fetch", [9], null, []],
      ["hop-1.main.backup", [9], null, []],
      ["hop-1.main.auth", [1], "auth", ["auth-2"]],
      ["hop-1.main.auth-rest", [1], "auth-rest", []],
      ["hop-1.main.proxy", [1, 1], "proxy", []],
      ["hop-1.main.node", [1, 1, 1, 1, 1], "node", []],
      ["hop-1.main.verify", [9], null, []],
      ["hop-1.eu.preflight", [2], null, []],
      ["hop-1.eu.fetch", [2], null, []],
      ["hop-1.eu.backup", [2], null, []],
      ["hop-1.eu.auth", [1], "auth", []],
      ["hop-1.eu.node", [1], "node", []],
      ["hop-1.eu.verify", [2], null, []],
    ],
  );
  t.same(
    plan.hops[0]?.stages
      .filter((stage) => stage.gate)
      .map((stage) => [stage.gate?.id === stage.id, stage.gate?.pointOfNoReturn]),
    [
      [true, true],
      [true, false],
      [true, false],
      [true, false],
      [true, true],
      [true, false],
    ],
  );
});

t.test("order: leaves may be declared before their root, and trust may go deeper", async (t) => {
  const cluster = (name: string, trusts: string) =>
    `  - { name: ${name}, ${trusts} hosts: [{ name: ${name}-1, roles: [auth] }] }`;
  const fleet = `fleet: f\nclusters:\n${[cluster("leaf", "trusts: mid,"), cluster("mid", "trusts: top,"), cluster("other", ""), cluster("top", "")].join("\n")}`;
  const plan = planned(t, inputFor(fleet, "6.2.31"));
  t.same([...new Set(plan.hops[0]?.stages.map((stage) => stage.cluster))], ["other", "top", "mid", "leaf"]);
});

t.test("order: a host with several roles goes once, in its earliest", async (t) => {
  const plan = planned(t, inputFor(ACME, "6.2.31"));
  const moving = plan.hops[0]?.stages.filter((stage) => ["auth", "proxy", "node"].includes(stage.kind)) ?? [];
  t.same(
    moving.filter((stage) => stage.batches.flat().includes("eu-all")).map((stage) => stage.kind),
    ["auth"],
  );
});

t.test("I5: rolling takes every auth in turn and stops nobody", async (t) => {
  const plan = planned(t, inputFor(ACME.replace("name: main\n", "name: main\n    ha: rolling\n"), "6.2.31"));
  t.match(stagesNamed(plan, "auth")[0], { batches: [["auth-1"], ["auth-2"]], stop: [], program: "auth-rolling" });
});

t.test("batches: canaries first, then as the policy says, shares of the whole stage", async (t) => {
  const fleet = `${SMALL.replace("node-[1:3]", "node-[01:20]")}
rollout:
  node: { canary: 2, batch: [1, "25%"], settle: 3s, budget: { batch: 1, stage: "10%", run: "50%" }, attempts: 7, stepTimeout: 5m }
  proxy: { canary: 0 }
`;
  const plan = planned(t, inputFor(fleet, "6.2.31"));
  const [node] = stagesNamed(plan, "node");
  t.same(
    node?.batches.map((batch) => batch.length),
    [2, 1, 5, 5, 5, 2],
  );
  t.match(node, {
    canaries: 1,
    parallel: 5,
    budget: { batch: 1, stage: 2 },
    settleMs: 3000,
    attempts: 7,
    stepTimeoutMs: 300_000,
  });
  t.equal(stagesNamed(plan, "proxy")[0]?.canaries, 0);
  t.equal(plan.budgetRun, 11);
});

t.test("gates: the most particular policy wins, member by member", async (t) => {
  const fleet = `${ACME}
gates:
  default: { approvals: 2, group: ops, timeout: 1h }
  auth: { approvals: 3, onTimeout: rollback }
  clusters: { eu: { default: { group: eu-ops }, auth: { timeout: 2h } } }
`;
  const plan = planned(t, inputFor(fleet, "6.2.31"));
  const gate = (id: string) => plan.hops[0]?.stages.find((stage) => stage.id === id)?.gate;
  t.match(gate("hop-1.main.node"), { approvals: 2, group: "ops", timeoutMs: 3_600_000, onTimeout: "hold" });
  t.match(gate("hop-1.main.auth"), { approvals: 3, group: "ops", timeoutMs: 3_600_000, onTimeout: "rollback" });
  t.match(gate("hop-1.eu.auth"), { approvals: 3, group: "eu-ops", timeoutMs: 7_200_000, onTimeout: "rollback" });
});

t.test("uneven: stragglers go up before auth moves on", async (t) => {
  const input = inputFor(SMALL, "7.1.0");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "6.0.0", { "node-2": "5.0.0" }) });
  t.same(
    plan.hops.map((hop) => hop.stages.flatMap((stage) => (stage.kind === "node" ? stage.batches.flat() : []))),
    [["node-2"], ["node-1", "node-2", "node-3"]],
  );
  t.notOk(plan.hops[0]?.stages.some((stage) => stage.kind === "auth"));
  t.equal(plan.risks.length, 0, "one major behind is allowed");
});

t.test("uneven: a start that breaks I1 is planned back to health, and said", async (t) => {
  const input = inputFor(SMALL, "7.1.0");
  for (const others of [{ "node-2": "7.0.0" }, { "auth-1": "5.0.0" }, { "proxy-1": "5.0.0", "auth-1": "7.0.0" }]) {
    const facts = factsOf(input.fleet, "6.0.0", others);
    const plan = planned(t, { ...input, facts });
    t.match(plan.risks, [{ code: "skew-at-start", subject: "main" }], JSON.stringify(others));
  }
});

t.test("uneven: under shrink a straggling auth stops, and joins the one that has crossed", async (t) => {
  const input = inputFor(ACME, "6.2.31");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "5.4.2", { "auth-1": "6.0.0" }) });
  t.same(
    stagesNamed(plan, "auth")
      .slice(0, 2)
      .map(({ id, program, stop, batches }) => [id, program, stop, batches]),
    [
      ["hop-1.main.auth", "auth-rest", ["auth-2"], [["auth-2"]]],
      ["hop-1.main.auth-minor", "auth-minor", [], [["auth-1"]]],
    ],
  );
});

t.test("uneven: a hop that one auth has taken already has no first one (I5)", async (t) => {
  const input = inputFor(ACME, "7.1.0");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "5.4.2", { "auth-1": "6.0.0" }) });
  t.same(
    stagesNamed(plan, "auth")
      .filter((stage) => stage.cluster === "main")
      .map(({ id, program, stop, batches }) => [id, program, stop, batches]),
    [
      ["hop-1.main.auth", "auth-rest", ["auth-2"], [["auth-2"]]],
      ["hop-2.main.auth", "auth-first", ["auth-2"], [["auth-1"]]],
      ["hop-2.main.auth-rest", "auth-rest", [], [["auth-2"]]],
    ],
  );
});

t.test("ahead: a host ahead of the target stays and is listed; when all are, it is a downgrade", async (t) => {
  const input = inputFor(SMALL, "6.0.0");
  const facts = factsOf(input.fleet, "5.4.2", { "node-1": "6.2.31" });
  const plan = planned(t, { ...input, facts });
  t.same(plan.ahead, ["node-1"]);
  t.notOk(plan.hosts["node-1"]);
  const result = planUpgrade({ ...input, facts: factsOf(input.fleet, "6.2.31") });
  t.match(blocked(result), [{ code: "downgrade-refused", subject: "6.0.0", hint: /rollback/ }]);
});

t.test("nothing to do: a plan with no hops", async (t) => {
  const input = inputFor(SMALL, "6.2.31");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "6.2.31") });
  t.match(plan, { hops: [], hosts: {}, programs: {} });
});

t.test("I11: what speaks against a release, and what a person may accept by name", async (t) => {
  const input = inputFor(SMALL, "7.2.0-rc.1");
  t.match(blocked(planUpgrade(input)), [
    { code: "prerelease-refused", subject: "7.2.0-rc.1", hint: /--accept-risk prerelease-refused:7.2.0-rc.1/ },
  ]);
  const accept = (code: string, subject: string) => ({ acceptRisks: [{ code, subject, by: "ann", why: "a try" }] });
  const plan = planned(t, { ...input, ...accept("prerelease-refused", "v7.2.0-rc.1") });
  t.match(plan.risks, [{ code: "prerelease-refused", accepted: { by: "ann", why: "a try" } }]);
  planned(t, inputFor(`${SMALL}environment: staging\n`, "7.2.0-rc.1"));

  const against = (word: "blocked" | "suspect") => ({
    catalogue: {
      releases: catalogueOf().releases.map((one) => (one.version === "7.1.0" ? { ...one, [word]: "bad" } : one)),
    },
  });
  for (const [word, code] of [
    ["blocked", "release-blocked"],
    ["suspect", "release-suspect"],
  ] as const) {
    const spoken = inputFor(SMALL, "7.1.0", against(word));
    t.match(blocked(planUpgrade(spoken)), [{ code, subject: "7.1.0" }]);
    planned(t, { ...spoken, ...accept(code, "7.1.0") });
  }
});

t.test("I11: what can't be named can't be planned", async (t) => {
  t.match(blocked(planUpgrade(inputFor(SMALL, "seven"))), [{ code: "version-invalid" }]);
  t.match(blocked(planUpgrade(inputFor(SMALL, "7.9.9"))), [{ code: "release-unknown" }]);
  t.match(blocked(planUpgrade(inputFor(SMALL, "7.1.0", { via: ["6.9.9"] }))), [{ code: "release-unknown" }]);
  t.match(blocked(planUpgrade(inputFor(SMALL, "7.1.0", { via: ["5.4.2"] }))), [{ code: "no-intermediate-release" }]);
  t.match(blocked(planUpgrade(inputFor(SMALL, "7.1.0", { via: ["6.0.0", "6.2.31"] }))), [
    { code: "no-intermediate-release" },
  ]);
  t.match(blocked(planUpgrade(inputFor(SMALL, "7.1.0", { catalogue: catalogueOf(["5.4.2", "7.1.0"]) }))), [
    { code: "no-intermediate-release", subject: "6", hint: /--via 6/ },
  ]);
});

t.test("artifacts: each platform its own, or the plan is blocked", async (t) => {
  const input = inputFor(SMALL, "6.2.31");
  const facts = factsOf(input.fleet, "5.4.2", { "node-1": { arch: "arm64" }, "auth-1": { edition: "ent" } });
  const plan = planned(t, { ...input, facts });
  t.same(
    plan.releases["6.2.31"]?.map(({ file }) => file),
    [
      "teleport-ent-v6.2.31-linux-amd64-bin.tar.gz",
      "teleport-v6.2.31-linux-amd64-bin.tar.gz",
      "teleport-v6.2.31-linux-arm64-bin.tar.gz",
    ],
  );
  const strange = factsOf(input.fleet, "5.4.2", { "node-1": { fips: true }, "node-2": { arch: "riscv64" } });
  t.match(blocked(planUpgrade({ ...input, facts: strange })), [
    { code: "artifact-missing", subject: "6.2.31 linux-amd64-oss-fips", message: /node-1/ },
    { code: "artifact-missing", subject: "6.2.31 linux-riscv64-oss", message: /node-2/ },
  ]);
});

t.test("hosts: what nobody knows, and what can't be reached", async (t) => {
  const input = inputFor(SMALL, "6.2.31");
  const facts = (more: object) => ({ facts: factsOf(input.fleet, "5.4.2", more as never) });
  t.match(blocked(planUpgrade({ ...input, ...facts({ "node-1": null }) })), [
    { code: "host-version-unknown", subject: "node-1" },
  ]);
  t.match(blocked(planUpgrade({ ...input, ...facts({ "node-1": "weird" }) })), [
    { code: "host-version-unknown", message: /"weird"/ },
  ]);
  const gone = facts({ "node-1": { reachable: false } });
  t.match(blocked(planUpgrade({ ...input, ...gone })), [
    { code: "host-unreachable", subject: "node-1", hint: /--quarantine node-1/ },
  ]);
  const byName = planned(t, { ...input, ...gone, quarantine: [{ host: "node-1", reason: "broken fan" }] });
  t.same(byName.quarantined, [{ host: "node-1", reason: "broken fan" }]);
  const byPolicy = planned(t, { ...inputFor(`${SMALL}offline: quarantine\n`, "6.2.31"), ...gone });
  t.match(byPolicy.quarantined, [{ host: "node-1", reason: /offline/ }]);
  const there = facts({ "node-1": hostFact("6.2.31", { reachable: false }) });
  planned(t, { ...input, ...there }, "who has arrived need not be reached");
});

t.test("hosts: those nobody declared are listed and never touched", async (t) => {
  const input = inputFor(SMALL, "6.2.31");
  const plan = planned(t, { ...input, facts: factsOf(input.fleet, "5.4.2", { stray: "5.4.2", another: null }) });
  t.same(plan.undeclared, ["another", "stray"]);
  t.notMatch(JSON.stringify(plan.hops), /stray|another/);
});

t.test("left behind: more than one major behind must be accepted by name", async (t) => {
  const input = inputFor(SMALL, "7.1.0", { quarantine: [{ host: "node-1", reason: "fan" }] });
  t.match(blocked(planUpgrade(input)), [
    { code: "left-behind", subject: "node-1", hint: /--accept-risk left-behind:node-1/ },
  ]);
  const accepted = planned(t, {
    ...input,
    acceptRisks: [{ code: "left-behind", subject: "node-1", by: "ann", why: "scrap" }],
  });
  t.match(accepted.risks, [{ code: "left-behind", subject: "node-1", accepted: { by: "ann" } }]);
  planned(t, { ...input, to: "6.2.31" }, "one major behind is allowed");
});

t.test("left behind: an auth that goes on running an old major ruins the backend (I5)", async (t) => {
  const input = inputFor(ACME, "6.2.31", { quarantine: [{ host: "auth-2", reason: "slow" }] });
  t.match(blocked(planUpgrade(input)), [{ code: "left-behind", subject: "auth-2" }]);
});

t.test("accepting what isn't there is a misunderstanding", async (t) => {
  const acceptRisks = [{ code: "left-behind", subject: "node-9", by: "ann", why: "?" }];
  t.match(blocked(planUpgrade(inputFor(SMALL, "6.2.31", { acceptRisks }))), [
    { code: "accepted-risk-unused", subject: "left-behind:node-9" },
  ]);
  const unaccepted = inputFor(SMALL, "6.2.31", {
    acceptRisks: [{ code: "host-unreachable", subject: "node-1", by: "ann", why: "?" }],
  });
  const facts = factsOf(unaccepted.fleet, "5.4.2", { "node-1": { reachable: false } });
  t.match(blocked(planUpgrade({ ...unaccepted, facts })), [{ code: "host-unreachable", hint: /can't be accepted/ }]);
});

t.test("scope: a part of the fleet, held to the invariants of the whole", async (t) => {
  const limit = (...names: string[]) =>
    blocked(planUpgrade(inputFor(ACME, "6.2.31", { limit: names }))).map(({ code, subject }) => `${code} ${subject}`);
  t.same(limit("node-1"), [
    "scope-breaks-invariant auth-1",
    "scope-breaks-invariant auth-2",
    "scope-breaks-invariant proxy-1",
    "scope-breaks-invariant proxy-2",
  ]);
  t.same(limit("auth-1"), ["scope-breaks-invariant auth-2"]);
  t.same(limit("nobody"), ["scope-unknown nobody"]);
  t.match(blocked(planUpgrade(inputFor(ACME, "6.2.31", { clusters: ["eu"] }))), [
    { code: "scope-breaks-invariant", message: /ahead of auth-1 at 5.4.2 of main/ },
  ]);
  t.match(blocked(planUpgrade(inputFor(ACME, "6.2.31", { clusters: ["us"] }))), [
    { code: "scope-unknown", subject: "us" },
  ]);
  t.match(blocked(planUpgrade(inputFor(ACME, "6.2.31", { quarantine: [{ host: "x", reason: "" }] }))), [
    { code: "scope-unknown" },
  ]);

  const root = planned(t, inputFor(ACME, "6.2.31", { clusters: ["main"] }));
  t.same(root.outOfScope, ["eu-all", "eu-node"]);
  t.match(blocked(planUpgrade(inputFor(ACME, "7.1.0", { clusters: ["main"] }))), [
    { code: "left-behind", subject: "eu-all" },
  ]);
  planned(t, inputFor(ACME, "6.2.31", { limit: ["auth-1", "auth-2", "proxy-1", "proxy-2", "node-3"] }));
});

t.test("managed: nodes only, never past the tenant", async (t) => {
  const fleet = `
fleet: f
clusters: [{ name: cloud, managed: { address: t.example }, hosts: [{ name: n-[1:2], roles: [node] }] }]
`;
  const at = (server: string | null) => {
    const input = inputFor(fleet, "6.2.31");
    return { ...input, facts: factsOf(input.fleet, "5.4.2", {}, server === null ? {} : { cloud: server }) };
  };
  t.match(blocked(planUpgrade(at(null))), [{ code: "managed-version-unknown", subject: "cloud" }]);
  t.match(blocked(planUpgrade(at("6.2.30"))), [{ code: "managed-too-old", subject: "cloud" }]);
  const plan = planned(t, at("6.2.31"));
  t.same(
    plan.hops[0]?.stages.map((stage) => stage.kind),
    ["preflight", "fetch", "backup", "node", "verify"],
  );
  t.same(plan.clusters.cloud?.managed, { address: "t.example", serverVersion: "6.2.31" });
});

t.test("a variable that makes no sense is found when planning, not in the middle of a run", async (t) => {
  const refused = (vars: string) => blocked(planUpgrade(inputFor(`${SMALL}vars: ${vars}\n`, "6.2.31")));
  t.match(refused('{ startTimeout: "soon" }'), [
    { code: "program-invalid", message: /"startTimeout" must be a duration/ },
  ]);
  t.match(refused('{ data: "{nowhere}" }'), [{ code: "program-invalid", message: /no variable "nowhere"/ }]);
  t.match(refused('{ data: "{config}", config: "{data}" }'), [{ code: "program-invalid", message: /circle/ }]);
  t.match(refused("{ service: a b }"), [{ code: "program-invalid" }]);
});

t.test("the plan's id is the digest of all the rest, and the same input gives the same plan", async (t) => {
  const { id, ...content } = planned(t, inputFor(ACME, "7.1.0"));
  t.equal(id, digestOf(content));
  t.equal(id, digestOf(JSON.parse(JSON.stringify(content))), "JSON loses nothing of it");
  t.equal(id, planned(t, inputFor(ACME, "7.1.0")).id);
  t.not(id, planned(t, inputFor(`${ACME}vars: { data: /srv }\n`, "7.1.0")).id, "what hosts do is in it");
});

/** A plan that is made, and lints clean. */
function planned(t: Tap, input: PlanInput, message = "it is planned"): Plan {
  const result = planUpgrade(input);
  if (!result.ok) throw new Error(`${message}: ${JSON.stringify(result.blocked, null, 2)}`);
  t.same(lintPlan(result.plan, input.fleet, input.facts), [], `${message} and lints clean`);
  return result.plan;
}

function blocked(result: PlanResult): Extract<PlanResult, { ok: false }>["blocked"] {
  return result.ok ? [] : result.blocked;
}

function stagesNamed(plan: Plan, kind: Stage["kind"]): Stage[] {
  return plan.hops.flatMap((hop) => hop.stages.filter((stage) => stage.kind === kind));
}

type Tap = Pick<typeof t, "same">;
