import { type Finding, lintPlan } from "@belay/controller/plan/lint";
import type { Hop, Plan, Stage } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { digestOf } from "@belay/shared";
import t from "tap";
import { catalogueOf, factsOf, inputFor } from "../support/fleets.js";

const input = inputFor(
  `
fleet: acme
clusters:
  - name: main
    hosts:
      - { name: auth-[1:3], roles: [auth] }
      - { name: proxy-[1:2], roles: [proxy] }
      - { name: node-[1:6], roles: [node] }
  - name: eu
    trusts: main
    ha: rolling
    hosts:
      - { name: eu-auth-[1:2], roles: [auth] }
      - { name: eu-proxy, roles: [proxy] }
      - { name: eu-node, roles: [node] }
  - { name: cloud, managed: { address: t.example }, hosts: [{ name: cloud-node, roles: [node] }] }
`,
  "7.1.0",
);
const facts = factsOf(input.fleet, "5.4.2", { stray: "5.4.2", "cloud-node": "6.2.31" }, { cloud: "7.1.0" });

/** The plan as plain data, to be broken. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type DraftStage = Omit<Mutable<Stage>, "batches" | "stop"> & { batches: string[][]; stop: string[] };
type DraftHop = Omit<Mutable<Hop>, "stages"> & { stages: DraftStage[] };
type Draft = Omit<Mutable<Plan>, "hops" | "hosts"> & { hops: DraftHop[]; hosts: Record<string, object> };

function cleanPlan(): Draft {
  const result = planUpgrade({ ...input, facts });
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  return structuredClone(result.plan) as unknown as Draft;
}

t.test("the plan that all of these break is clean", async (t) => {
  t.same(lint(cleanPlan()), []);
});

/** Each breaks a clean plan in one way by hand. The linter must name the invariant, and where. */
const MUTATIONS: readonly [
  what: string,
  invariant: string,
  where: string,
  subject: string,
  mutate: (plan: Draft) => void,
][] = [
  [
    "proxies before auth",
    "I1",
    "hop-1.main.proxy",
    "proxy-1",
    (plan) => swapStages(plan, 0, "main.auth", "main.proxy"),
  ],
  ["nodes before proxies", "I1", "hop-1.main.node", "node-1", (plan) => swapStages(plan, 0, "main.proxy", "main.node")],
  [
    "nodes while one auth waits",
    "I1",
    "hop-1.main.node",
    "node-1",
    (plan) => swapStages(plan, 0, "main.auth-rest", "main.node"),
  ],
  [
    "a proxy forgotten in its stage",
    "I1",
    "hop-1.main.node",
    "node-1",
    (plan) => dropHost(plan, 0, "main.proxy", "proxy-2"),
  ],
  [
    "a node in the batch of its proxy",
    "I1",
    "hop-1.main.proxy",
    "node-1",
    (plan) => {
      dropHost(plan, 0, "main.node", "node-1");
      stage(plan, 0, "main.proxy").batches[1]?.push("node-1");
    },
  ],
  [
    "the leaf's auth before its root's",
    "I2",
    "hop-1.eu.auth",
    "eu",
    (plan) => {
      moveStages(plan, 0, "eu", "main");
    },
  ],
  [
    "the leaf left out of a hop",
    "I2",
    "hop-2.main.auth",
    "eu",
    (plan) => {
      hop(plan, 0).stages = hop(plan, 0).stages.filter((one) => one.cluster !== "eu");
    },
  ],
  [
    "the leaf before the root's proxies",
    "I2",
    "hop-1.eu.auth",
    "eu",
    (plan) => {
      const [proxies] = cut(plan, 0, (one) => one.id === "hop-1.main.proxy");
      if (proxies) hop(plan, 0).stages.push(proxies);
    },
  ],
  [
    "a jump over a major",
    "I3",
    "hop-2.main.auth",
    "auth-1",
    (plan) => {
      plan.hops.shift();
    },
  ],
  [
    "a hop that starts before a node is there",
    "I3",
    "hop-2",
    "node-6",
    (plan) => dropHost(plan, 0, "main.node", "node-6"),
  ],
  [
    "a hop downwards",
    "I3",
    "hop-2.main.auth",
    "auth-1",
    (plan) => {
      hop(plan, 1).to = "6.0.0";
      plan.to = "6.0.0";
    },
  ],
  [
    "no backup",
    "I4",
    "hop-1.main.auth",
    "auth-1",
    (plan) => void cut(plan, 0, (one) => one.id === "hop-1.main.backup"),
  ],
  ["one host without backup", "I4", "hop-1.main.node", "node-3", (plan) => dropHost(plan, 0, "main.backup", "node-3")],
  ["backup after auth", "I4", "hop-2.main.auth", "auth-1", (plan) => swapStages(plan, 1, "main.backup", "main.auth")],
  [
    "a backup that nobody reads back",
    "I4",
    "hop-1.main.auth",
    "auth-1",
    (plan) => {
      plan.programs = { ...plan.programs, backup: (plan.programs.backup ?? []).slice(0, 1) };
    },
  ],
  [
    "a backup read back before it is made",
    "I4",
    "hop-1.main.auth",
    "auth-1",
    (plan) => {
      plan.programs = { ...plan.programs, backup: [...(plan.programs.backup ?? [])].reverse() };
    },
  ],
  [
    "shrink that stops nobody",
    "I5",
    "hop-1.main.auth",
    "auth-2",
    (plan) => {
      stage(plan, 0, "main.auth").stop = [];
    },
  ],
  [
    "shrink that forgets one",
    "I5",
    "hop-1.main.auth",
    "auth-3",
    (plan) => {
      stage(plan, 0, "main.auth").stop = ["auth-2"];
    },
  ],
  [
    "two auths cross together",
    "I5",
    "hop-1.main.auth",
    "main",
    (plan) => {
      stage(plan, 0, "main.auth").batches = [["auth-1", "auth-2"]];
      dropHost(plan, 0, "main.auth-rest", "auth-2");
    },
  ],
  [
    "two rolling auths at once",
    "I5",
    "hop-1.eu.auth",
    "eu",
    (plan) => {
      stage(plan, 0, "eu.auth").batches = [["eu-auth-1", "eu-auth-2"]];
    },
  ],
  [
    "rolling auth stopped",
    "I5",
    "hop-1.eu.auth",
    "eu",
    (plan) => {
      stage(plan, 0, "eu.auth").stop = ["eu-auth-2"];
    },
  ],
  [
    "an auth that is never started again",
    "I5",
    "hop-1",
    "auth-3",
    (plan) => dropHost(plan, 0, "main.auth-rest", "auth-3"),
  ],
  [
    "no gate before auth",
    "I6",
    "hop-1.main.auth",
    "hop-1.main.auth",
    (plan) => {
      stage(plan, 0, "main.auth").gate = null;
    },
  ],
  [
    "no gate before proxies",
    "I6",
    "hop-2.main.proxy",
    "hop-2.main.proxy",
    (plan) => {
      stage(plan, 1, "main.proxy").gate = null;
    },
  ],
  [
    "no gate before nodes",
    "I6",
    "hop-2.cloud.node",
    "hop-2.cloud.node",
    (plan) => {
      stage(plan, 1, "cloud.node").gate = null;
    },
  ],
  [
    "a gate that asks nobody",
    "I6",
    "hop-1.eu.node",
    "hop-1.eu.node",
    (plan) => gateWith(plan, "eu.node", { approvals: 0 }),
  ],
  [
    "another stage's gate",
    "I6",
    "hop-1.eu.node",
    "hop-1.eu.proxy",
    (plan) => gateWith(plan, "eu.node", { id: "hop-1.eu.proxy" }),
  ],
  [
    "a point of no return that nobody sees",
    "I6",
    "hop-1.eu.auth",
    "eu-auth-1",
    (plan) => gateWith(plan, "eu.auth", { pointOfNoReturn: false }),
  ],
  [
    "a pre-release in production",
    "I11",
    "hop-2",
    "7.2.0-rc.1",
    (plan) => {
      hop(plan, 1).to = "7.2.0-rc.1";
      plan.to = "7.2.0-rc.1";
    },
  ],
  [
    "a version that is none",
    "I11",
    "hop-2",
    "7.1",
    (plan) => {
      hop(plan, 1).to = "7.1";
    },
  ],
  [
    "a host that nobody declared",
    "shape",
    "plan",
    "stray",
    (plan) => {
      plan.hosts.stray = { ...plan.hosts["node-1"] };
      stage(plan, 0, "main.node").batches.push(["stray"]);
    },
  ],
  [
    "a host that the plan does not know",
    "shape",
    "hop-1.main.node",
    "ghost",
    (plan) => {
      stage(plan, 0, "main.node").batches.push(["ghost"]);
    },
  ],
  [
    "a host twice in a stage",
    "shape",
    "hop-1.main.node",
    "node-1",
    (plan) => {
      stage(plan, 0, "main.node").batches.push(["node-1"]);
    },
  ],
  [
    "a host of another cluster",
    "shape",
    "hop-1.main.node",
    "eu-node",
    (plan) => {
      dropHost(plan, 0, "eu.node", "eu-node");
      stage(plan, 0, "main.node").batches.push(["eu-node"]);
    },
  ],
  [
    "a proxy among the nodes",
    "shape",
    "hop-1.main.node",
    "proxy-2",
    (plan) => {
      dropHost(plan, 0, "main.proxy", "proxy-2");
      stage(plan, 0, "main.node").batches.unshift(["proxy-2"]);
    },
  ],
  ["a host that never arrives", "shape", "plan", "node-6", (plan) => dropHost(plan, 1, "main.node", "node-6")],
  [
    "a quarantined host that moves",
    "shape",
    "hop-1.main.node",
    "node-2",
    (plan) => {
      plan.quarantined = [{ host: "node-2", reason: "fan" }];
    },
  ],
  [
    "other facts than the plan was made on",
    "shape",
    "plan",
    "node-1",
    (plan) => {
      plan.hosts["node-1"] = { ...plan.hosts["node-1"], version: "5.0.0" };
    },
  ],
  [
    "a swap before the fetch",
    "shape",
    "hop-1.main.node",
    "node-4",
    (plan) => dropHost(plan, 0, "main.fetch", "node-4"),
  ],
  [
    "no artifact",
    "shape",
    "hop-2.main.fetch",
    "node-1",
    (plan) => {
      plan.releases = { ...plan.releases, "7.1.0": [] };
    },
  ],
  [
    "a program that is not there",
    "shape",
    "hop-1.main.node",
    "nodes",
    (plan) => {
      stage(plan, 0, "main.node").program = "nodes";
    },
  ],
  [
    "a stage twice",
    "shape",
    "hop-1.main.verify",
    "hop-1.main.verify",
    (plan) => {
      hop(plan, 0).stages.push(structuredClone(stage(plan, 0, "main.verify")));
    },
  ],
  [
    "a stop of a node",
    "shape",
    "hop-1.main.auth",
    "node-1",
    (plan) => {
      stage(plan, 0, "main.auth").stop.push("node-1");
    },
  ],
];

for (const [what, invariant, where, subject, mutate] of MUTATIONS) {
  t.test(`catches ${what} (${invariant})`, async (t) => {
    const plan = cleanPlan();
    mutate(plan);
    const findings = lint(reseal(plan));
    t.ok(
      findings.some((found) => found.invariant === invariant && found.where === where && found.subject === subject),
      JSON.stringify(findings, null, 2),
    );
  });
}

t.test("catches a plan whose id names other content (I6)", async (t) => {
  const plan = cleanPlan();
  gateWith(plan, "main.auth", { approvals: 7 });
  t.match(lint(plan), [{ invariant: "I6", where: "plan", subject: plan.id }]);
});

t.test("a plan made on a skewed start is clean, and one that makes it worse is not (I1)", async (t) => {
  const skewed = { ...facts, hosts: { ...facts.hosts, ...factsOf(input.fleet, "5.4.2", { "node-1": "6.0.0" }).hosts } };
  skewed.hosts["cloud-node"] = { ...skewed.hosts["node-1"], version: "6.2.31" } as never;
  const result = planUpgrade({ ...input, facts: skewed, catalogue: catalogueOf() });
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  t.same(lintPlan(result.plan, input.fleet, skewed), []);
  const worse = structuredClone(result.plan) as unknown as Draft;
  swapStages(worse, 0, "main.auth", "main.node");
  const ahead = lintPlan(reseal(worse), input.fleet, skewed).filter(({ invariant }) => invariant === "I1");
  t.match(ahead, [
    { subject: "node-2" },
    { subject: "node-3" },
    { subject: "node-4" },
    { subject: "node-5" },
    { subject: "node-6" },
  ]);
});

function lint(plan: Draft | Plan): readonly Finding[] {
  return lintPlan(plan as Plan, input.fleet, facts);
}

/** Gives a broken plan the id of its own content, so that only what was broken is found. */
function reseal(plan: Draft): Plan {
  const { id: _, ...content } = plan;
  return { ...content, id: digestOf(content) } as Plan;
}

function hop(plan: Draft, index: number): DraftHop {
  const found = plan.hops[index];
  if (found === undefined) throw new Error(`no hop ${index}`);
  return found;
}

function stage(plan: Draft, hopIndex: number, name: string): DraftStage {
  const found = hop(plan, hopIndex).stages.find((one) => one.id === `hop-${hopIndex + 1}.${name}`);
  if (found === undefined) throw new Error(`no stage ${name}`);
  return found;
}

function cut(plan: Draft, hopIndex: number, which: (stage: DraftStage) => boolean): DraftStage[] {
  const all = hop(plan, hopIndex).stages;
  hop(plan, hopIndex).stages = all.filter((one) => !which(one));
  return all.filter(which);
}

function moveStages(plan: Draft, hopIndex: number, cluster: string, before: string): void {
  const moved = cut(plan, hopIndex, (one) => one.cluster === cluster);
  const at = hop(plan, hopIndex).stages.findIndex((one) => one.cluster === before);
  hop(plan, hopIndex).stages.splice(at, 0, ...moved);
}

function swapStages(plan: Draft, hopIndex: number, a: string, b: string): void {
  const { stages } = hop(plan, hopIndex);
  const [first, second] = [stages.indexOf(stage(plan, hopIndex, a)), stages.indexOf(stage(plan, hopIndex, b))];
  [stages[first], stages[second]] = [stage(plan, hopIndex, b), stage(plan, hopIndex, a)];
}

function dropHost(plan: Draft, hopIndex: number, name: string, host: string): void {
  const found = stage(plan, hopIndex, name);
  found.batches = found.batches.map((batch) => batch.filter((one) => one !== host)).filter((batch) => batch.length > 0);
}

function gateWith(plan: Draft, name: string, more: object): void {
  const found = stage(plan, 0, name);
  if (found.gate === null) throw new Error(`no gate before ${name}`);
  found.gate = { ...found.gate, ...more };
}
