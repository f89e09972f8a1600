import { parseFleet } from "@belay/controller/inventory/parse";
import { leafOf, leafTexts, sharesOf } from "@belay/controller/plan/approvals/leaves";
import { PlanTree, rootOf } from "@belay/controller/plan/approvals/tree";
import type { PlanInput } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { atOnce } from "@belay/controller/plan/pieces";
import type { Plan } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, opsFor, stopOpsFor } from "@belay/controller/plan/program";
import { planRestore } from "@belay/controller/plan/restore";
import { planRollback } from "@belay/controller/plan/rollback";
import { sealPlan } from "@belay/controller/plan/seal";
import { belayAgent } from "@belay/controller/products/belay-agent";
import { fleetSeenBy } from "@belay/controller/products/viewpoint";
import { canonicalJson, digestOfOp, generalOp, hashOfLeaf, isIncluded } from "@belay/shared";
import t from "tap";
import { factsOf, inputFor } from "../support/fleets.js";

const FLEET = `
fleet: acme
policy: { approvals: signed }
gates: { start: { approvals: 3 } }
clusters:
  - name: main
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-[1:2], roles: [proxy] }
      - { name: node-[1:3], roles: [node] }
      - { name: odd, roles: [node], vars: { data: /srv/odd } }
  - { name: eu, trusts: main, ha: rolling, hosts: [{ name: eu-auth-[1:2], roles: [auth] }, { name: eu-node, roles: [node] }] }
`;

function planned(input: PlanInput): Plan {
  const result = planUpgrade(input);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  return result.plan;
}

/** Nodes that are alike but for how their service is defined: they are asked for different things. */
const defined = { "node-1": { definition: "1".repeat(64) }, "node-2": { definition: "2".repeat(64) } };
const input = inputFor(FLEET, "7.1.0", { facts: factsOf(parseFleet(FLEET, "fleet.yaml"), "5.4.2", defined) });
const plan = planned(input);
const lint = (one: Plan, of = input) => lintPlan(one, of.fleet, of.facts);

t.test(
  "a plan whose approvals are signed carries a root, and begins with a gate; another one is what it was",
  async (t) => {
    const shares = [...sharesOf(plan)];
    const steps = shares.reduce((sum, { ops }) => sum + ops.length, 0);
    t.match(plan.approvals, { leaves: steps, root: /^[0-9a-f]{64}$/ });
    t.match(plan.hops[0]?.stages[0], {
      id: "hop-1.main.preflight",
      gate: { id: "hop-1.main.preflight", kind: "start", approvals: 3 },
    });
    t.same(lint(plan), []);
    const recorded = planned(inputFor(FLEET.replace("signed", "recorded"), "7.1.0"));
    t.notOk("approvals" in recorded);
    t.equal(recorded.hops[0]?.stages[0]?.gate, null);
  },
);

t.test("every step that a host is sent has its leaf, in order, behind the latest gate (I6)", async (t) => {
  const run = "20261124-220000-abcd0123ef";
  const index = indexPlan(plan);
  const tree = atOnce(PlanTree.of(plan));
  const root = Buffer.from(plan.approvals?.root ?? "", "hex");
  const seqs = new Map<string, number>();
  const gates: string[] = [];
  let at = 0;
  for (const hop of plan.hops) {
    for (const stage of hop.stages) {
      if (stage.gate !== null) gates.push(stage.gate.id);
      for (const [list, hosts] of [["stop", stage.stop] as const, ["batches", stage.batches.flat()] as const]) {
        for (const host of hosts) {
          const fill = list === "stop" ? stopOpsFor : opsFor;
          for (const [op, sent] of fill(index, { run, stage: stage.id, host }).entries()) {
            const proof = tree.prove(stage.id, list, host, op);
            const seq = seqs.get(host) ?? 0;
            seqs.set(host, seq + 1);
            const leaf = {
              format: 1,
              host,
              hop: hop.id,
              stage: stage.id,
              gate: gates.at(-1),
              seq,
              index: list === "stop" ? `stop-${op}` : `${op}`,
              op: digestOfOp(generalOp(sent, { run, host })),
              timeoutMs: stage.stepTimeoutMs,
            };
            if (proof === null) t.fail(`no leaf for ${JSON.stringify(leaf)}`);
            else {
              t.same(proof.leaf, leaf);
              const path = proof.path.map((hex) => Buffer.from(hex, "hex"));
              if (proof.at !== at || !isIncluded(hashOfLeaf(proof.leaf), at, plan.approvals?.leaves ?? 0, path, root)) {
                t.fail(`no proof of ${canonicalJson(leaf)}`);
              }
            }
            at += 1;
          }
        }
      }
    }
  }
  t.equal(at, plan.approvals?.leaves);
  t.equal(tree.prove("hop-1.main.node", "batches", "auth-1", 0), null, "what is not in the plan has none");
  t.equal(tree.prove("hop-1.main.node", "batches", "node-1", 9), null);
});

t.test("leaves are written as canonical JSON", async (t) => {
  for (const share of sharesOf(plan)) {
    t.same(
      leafTexts(share),
      share.ops.map((_, op) => canonicalJson(leafOf(share, op))),
    );
  }
});

t.test("the linter finds a root that is not that of what hosts will be asked for", async (t) => {
  const resealed = ({ id: _, ...content }: Plan, more: Partial<Plan>) => sealPlan({ ...content, ...more });
  const { approvals, ...without } = plan;
  const root = `${approvals?.root.slice(0, -1)}${approvals?.root.endsWith("0") ? "1" : "0"}`;
  const leaves = approvals?.leaves ?? 0;
  const { id: _, ...unsigned } = without;
  const forged: [string, Plan][] = [
    ["another root", resealed(plan, { approvals: { root, leaves } })],
    ["another count", resealed(plan, { approvals: { root: approvals?.root ?? "", leaves: leaves + 1 } })],
    ["another path", resealed(plan, { vars: { ...plan.vars, data: "/srv/other" } })],
    [
      "another program",
      resealed(plan, {
        programs: { ...plan.programs, node: (plan.programs.node ?? []).map((op) => ({ ...op, how: "restart" })) },
      }),
    ],
    [
      "one step less",
      resealed(plan, {
        programs: { ...plan.programs, "verify-last": (plan.programs["verify-last"] ?? []).slice(0, 1) },
      }),
    ],
    ["nothing to sign", sealPlan(unsigned)],
  ];
  for (const [what, one] of forged) {
    t.match(
      lint(one).filter(({ invariant }) => invariant === "I6"),
      [{ where: "plan" }],
      what,
    );
  }
  const [hop, ...hops] = plan.hops;
  const [first, ...stages] = hop?.stages ?? [];
  if (hop === undefined || first === undefined) throw new TypeError("it has hops");
  const ungated = resealed(plan, { hops: [{ ...hop, stages: [{ ...first, gate: null }, ...stages] }, ...hops] });
  t.match(lint(ungated), [{ invariant: "I6", where: "hop-1.main.preflight" }]);
});

t.test("paths with a host's name in them are that host's alone", async (t) => {
  const named = inputFor(FLEET.replace("clusters:", 'vars: { data: "/srv/{host}/teleport" }\nclusters:'), "7.1.0");
  const own = planned(named);
  t.same(lint(own, named), []);
  const digestsOf = (of: Plan, host: string) =>
    [...sharesOf(of)].find((share) => share.host === host && share.stage.kind === "backup")?.ops.join();
  t.not(digestsOf(own, "node-1"), digestsOf(own, "node-2"));
  t.equal(digestsOf(plan, "node-1"), digestsOf(plan, "node-2"), "others are asked for the same");
  t.not(digestsOf(plan, "node-1"), digestsOf(plan, "odd"));
});

t.test("what hangs on the run can't be approved before it", async (t) => {
  const result = planUpgrade(inputFor(FLEET.replace("clusters:", 'vars: { backups: "/b/{run}" }\nclusters:'), "7.1.0"));
  t.match(result, { ok: false, blocked: [{ code: "program-invalid", message: /hangs on the run/ }] });
});

t.test("the way back and a restore are signed too, each with a first gate of its own", async (t) => {
  const facts = factsOf(input.fleet, "6.2.31");
  const stage = plan.hops[0]?.stages.findLast(({ kind }) => kind === "node")?.id ?? "";
  const hosts = Object.keys(plan.hosts);
  const back = planRollback({
    plan,
    run: "run-1",
    scope: "run",
    safetyBackup: true,
    stage,
    stopped: [],
    progress: Object.fromEntries(hosts.map((host) => [host, { version: "6.2.31", hop: "hop-1" }])),
    crossed: [{ hop: "hop-1", cluster: "main", host: "auth-1" }],
    backups: hosts.map((host) => ({
      ...{ host, hop: "hop-1", backup: `run-1.hop-1.${host}` },
      ...{ verified: true, pruned: false, copy: null },
    })),
    fleet: input.fleet,
    profile: input.profile,
    facts,
    quarantine: [],
    acceptRisks: [],
  });
  const restore = planRestore({
    backup: {
      ...{ host: "node-1", backup: "run-1.hop-1.node-1", version: "6.2.31", takenAt: 1 },
      ...{ verified: true, pruned: false, copy: null },
    },
    safetyBackup: true,
    fleet: input.fleet,
    profile: input.profile,
    catalogue: input.catalogue,
    facts,
    quarantine: [],
    acceptRisks: [],
  });
  for (const result of [back, restore]) {
    if (!result.ok) throw new Error(JSON.stringify(result.blocked));
    t.equal(result.plan.hops[0]?.stages[0]?.gate?.kind, "start");
    t.same(result.plan.approvals, rootOf(result.plan));
    t.same(lintPlan(result.plan, input.fleet, facts), []);
  }
});

t.test("the agents' own upgrade is signed too", async (t) => {
  const fleet = fleetSeenBy(belayAgent, input.fleet);
  const releases = ["0.1.0", "0.2.0"].map((version) => ({
    version,
    artifacts: [
      {
        os: "linux",
        arch: "amd64",
        edition: "oss" as const,
        fips: false,
        file: `belay-agent-${version}`,
        size: 1,
        sha256: "ab".repeat(32),
      },
    ],
  }));
  const of = {
    ...input,
    fleet,
    profile: belayAgent,
    facts: factsOf(fleet, "0.1.0"),
    catalogue: { releases },
    to: "0.2.0",
  };
  const upgrade = planned(of);
  t.same(upgrade.approvals, rootOf(upgrade));
  t.same(lint(upgrade, of), []);
  t.equal(
    [...sharesOf(upgrade)].filter(({ stage }) => stage.kind === "node").length,
    Object.keys(upgrade.hosts).length,
  );
});

t.test("a gate that time opens has no signatures, so a fleet that asks for them can't have one", async (t) => {
  for (const gates of [
    "{ default: { onTimeout: proceed } }",
    "{ clusters: { main: { node: { onTimeout: proceed } } } }",
  ]) {
    t.throws(() => parseFleet(FLEET.replace("{ start: { approvals: 3 } }", gates), "fleet.yaml"), /onTimeout: proceed/);
  }
});
