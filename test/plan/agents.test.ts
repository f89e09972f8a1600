import { parseFleet } from "@belay/controller/inventory/parse";
import { isNear } from "@belay/controller/plan/agents";
import type { PlanInput } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, opsFor } from "@belay/controller/plan/program";
import { belayAgent } from "@belay/controller/products/belay-agent";
import { teleport } from "@belay/controller/products/teleport";
import { factsSeenBy, fleetSeenBy } from "@belay/controller/products/viewpoint";
import type { Catalogue } from "@belay/controller/releases/catalogue";
import type { HostFacts } from "@belay/shared";
import t from "tap";
import { factsOf, inputFor } from "../support/fleets.js";

const FLEET = `
fleet: acme
rollout: { node: { canary: 2, batch: [3], budget: { batch: 0, stage: 0 } } }
vars: { versionsDir: /srv/teleport/versions, agentSettle: 7s }
clusters:
  - name: main
    ha: shrink
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-1, roles: [proxy] }
      - { name: node-[1:4], roles: [node], vars: { link: /srv/current, agentInstall: /srv/agent } }
  - { name: eu, trusts: main, hosts: [{ name: eu-1, roles: [auth, proxy, node] }] }
  - { name: cloud, managed: { address: acme.example }, hosts: [{ name: lone-1, roles: [node] }] }
`;

const agents: Catalogue = {
  releases: ["0.1.0", "0.2.0", "0.3.0"].map((version) => ({
    version,
    artifacts: [
      {
        os: "linux",
        arch: "amd64",
        edition: "oss",
        fips: false,
        file: `belay-agent-v${version}`,
        size: 10,
        sha256: "0".repeat(64),
      },
    ],
  })),
};

function inputOf(to: string, more: Partial<PlanInput> = {}): PlanInput {
  const fleet = fleetSeenBy(belayAgent, parseFleet(FLEET, "fleet.yaml"));
  return inputFor(fleet, to, {
    profile: belayAgent,
    catalogue: agents,
    facts: factsOf(fleet, "0.1.0"),
    belayd: "0.1.0",
    ...more,
  });
}

t.test("every host goes as a node: canaries, then batches, and nobody is stopped or backed up", async (t) => {
  const input = inputOf("0.2.0");
  const result = planUpgrade(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  const { plan } = result;
  t.same(lintPlan(plan, input.fleet, input.facts), []);
  t.same(
    plan.hops.map(({ stages }) => stages.map(({ id, batches }) => `${id} ${batches.map((batch) => batch.length)}`)),
    [
      [
        "hop-1.main.preflight 7",
        "hop-1.main.fetch 7",
        "hop-1.main.node 2,3,2",
        "hop-1.main.verify 7",
        "hop-1.cloud.preflight 1",
        "hop-1.cloud.fetch 1",
        "hop-1.cloud.node 1",
        "hop-1.cloud.verify 1",
        "hop-1.eu.preflight 1",
        "hop-1.eu.fetch 1",
        "hop-1.eu.node 1",
        "hop-1.eu.verify 1",
      ],
    ],
  );
  t.match(
    plan.hops[0]?.stages.filter(({ gate }) => gate !== null).map(({ gate, canaries }) => [gate?.kind, canaries]),
    [
      ["node", 1],
      ["node", 1],
      ["node", 1],
    ],
  );
  t.same(Object.keys(plan.clusters).sort(), ["cloud", "eu", "main"], "the same clusters are held (I13)");
  const index = indexPlan(plan);
  const upgradeOf = (host: string, stage: string) => opsFor(index, { run: "r-1", stage, host });
  t.match(upgradeOf("auth-1", "hop-1.main.node"), [
    {
      kind: "upgrade-agent",
      versionsDir: "/opt/belay/agent/versions",
      from: "0.1.0",
      to: "0.2.0",
      settleMs: 7000,
      returnMs: 30_000,
    },
  ]);
  t.match(
    upgradeOf("node-1", "hop-1.main.node"),
    [{ link: "/srv/agent/current" }],
    "its own variables, none of Teleport's",
  );
  t.match(
    upgradeOf("node-1", "hop-1.main.verify"),
    [{ kind: "health" }, { kind: "prune", versionsDir: "/srv/agent/versions", keep: ["0.1.0", "0.2.0"] }],
    "what the run may go back to stays",
  );
});

t.test("--cluster, --limit and batches of this upgrade alone", async (t) => {
  const declared = parseFleet(FLEET, "fleet.yaml");
  const fleet = fleetSeenBy(belayAgent, declared, { canary: 1, batch: ["50%"] });
  const result = planUpgrade(inputOf("0.2.0", { fleet, clusters: ["main"], limit: ["node-1", "node-2", "auth-1"] }));
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  const node = result.plan.hops[0]?.stages.find(({ kind }) => kind === "node");
  t.same(node?.batches, [["auth-1"], ["node-1"], ["node-2"]]);
});

t.test("an upgrade of agents that swaps a service without a backup is still found (I4)", async (t) => {
  const input = inputOf("0.2.0");
  const result = planUpgrade(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  const forged = { ...result.plan, programs: { ...result.plan.programs, node: [{ kind: "swap" }] } };
  t.ok(lintPlan(forged, input.fleet, input.facts).some(({ invariant }) => invariant === "I4"));
});

t.test("one minor version from belayd, and no further unless a person says so", async (t) => {
  t.same(
    [
      ["0.1.0", "0.1.9"],
      ["0.1.0", "0.2.0"],
      ["0.3.0", "0.2.5"],
      ["0.1.0", "0.3.0"],
      ["0.3.0", "0.1.0"],
      ["1.0.0", "0.9.0"],
      ["dev", "0.1.0"],
    ].map(([agent = "", belayd = ""]) => isNear(agent, belayd)),
    [true, true, true, false, false, false, false],
  );
  t.match(planUpgrade(inputOf("0.3.0")), { ok: false, blocked: [{ code: "agent-skew", subject: "0.3.0" }] });
  const acceptRisks = [{ code: "agent-skew", subject: "0.3.0", by: "ann", why: "belayd follows tonight" }];
  t.match(planUpgrade(inputOf("0.3.0", { acceptRisks })), { ok: true, plan: { risks: [{ code: "agent-skew" }] } });
});

t.test("a plan for Teleport asks about agents that are too far from belayd", async (t) => {
  const input = inputFor(FLEET, "6.2.31");
  const agent = (version: string, protocol = 2) => ({ agent: { version, protocol } });
  const managed = { cloud: "6.2.31" };
  const facts = (others: object) => factsOf(input.fleet, "6.0.0", { ...others } as never, managed);
  const everyOld = Object.fromEntries(Object.keys(facts({}).hosts).map((name) => [name, agent("0.1.0", 1)]));
  const far = planUpgrade({
    ...input,
    belayd: "0.3.0",
    facts: facts({ "node-1": agent("0.1.0"), "node-2": agent("0.2.0") }),
  });
  const hint = "Bring it nearer first: belay agent upgrade --to VERSION --limit node-1";
  t.match(far, { ok: false, blocked: [{ code: "agent-skew", subject: "node-1", hint }] });
  t.equal(!far.ok && far.blocked.length, 1);
  t.match(
    planUpgrade({ ...input, belayd: "0.1.0", facts: facts(everyOld) }),
    { ok: true },
    "agents of protocol 1 can do all of it",
  );
});

t.test("what an agent has no words for is found by planning", async (t) => {
  const fleet = fleetSeenBy(belayAgent, parseFleet(FLEET, "fleet.yaml"));
  const old = { agent: { version: "0.1.0", protocol: 1 } };
  const facts = factsOf(fleet, "0.1.0", { "node-3": old });
  t.match(planUpgrade(inputOf("0.2.0", { facts })), {
    ok: false,
    blocked: [{ code: "agent-too-old", subject: "node-3", message: /upgrade-agent/ }],
  });
  t.match(planUpgrade(inputOf("0.2.0", { facts, quarantine: [{ host: "node-3", reason: "its package first" }] })), {
    ok: true,
  });
});

t.test("hosts as the agents' upgrade sees them", async (t) => {
  const facts = {
    agentVersion: "0.1.0",
    installed: "5.4.2",
    running: "5.4.2",
    edition: "ent",
    fips: true,
    healthy: true,
    service: { name: "teleport", state: "running", pid: 7, restarts: 0, definition: "d".repeat(64) },
  };
  const seen = factsSeenBy(belayAgent, facts as unknown as HostFacts);
  t.match(seen, { installed: "0.1.0", running: "0.1.0", edition: "oss", fips: false, healthy: true });
  t.notOk(seen?.service.definition, "how Teleport is defined is nothing to the agents' own upgrade");
  t.equal(factsSeenBy(teleport, facts as unknown as HostFacts)?.installed, "5.4.2");
  t.equal(factsSeenBy(belayAgent, null), null);
});
