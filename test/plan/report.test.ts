import { parseFleet } from "@belay/controller/inventory/parse";
import { planUpgrade } from "@belay/controller/plan/planner";
import { renderBlocked, renderFindings, renderPlan } from "@belay/controller/plan/render";
import { planExitCode, planJson, refusedFleet } from "@belay/controller/plan/report";
import { BelayError } from "@belay/shared";
import t from "tap";
import { factsOf, inputFor } from "../support/fleets.js";

const LEAF = (name: string) =>
  `  - { name: ${name}, trusts: root, hosts: [{ name: ${name}-auth, roles: [auth] }, { name: "${name}-node-[1:4]", roles: [node] }] }`;
const FLEET = `
fleet: acme
gates: { auth: { approvals: 2, group: sre } }
clusters:
  - name: root
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: proxy-[1:2], roles: [proxy] }
      - { name: node-[01:20], roles: [node] }
${LEAF("eu")}
${LEAF("us")}
`;

t.test("a plan as people read it", async (t) => {
  const input = inputFor(FLEET, "7.1.0", { quarantine: [{ host: "node-07", reason: "broken fan" }] });
  const facts = factsOf(input.fleet, "5.4.2", { stray: "5.4.2", "eu-node-4": "7.2.0-rc.1" });
  const acceptRisks = [{ code: "left-behind", subject: "node-07", by: "ann", why: "it is scrap" }];
  const result = planUpgrade({ ...input, facts, acceptRisks });
  t.ok(result.ok, JSON.stringify(result.ok ? "" : result.blocked));
  if (!result.ok) return;
  t.equal(
    renderPlan(result.plan),
    `Teleport 5.4.2 -> 7.1.0: 2 hops, 3 clusters, 32 hosts
  hop 1  5.4.2 -> 6.2.31  root: backup | auth (2, shrink) | proxy (2) | node (19)
                          eu: backup | auth (1) | node (3)
                          us: backup | auth (1) | node (4)
  hop 2  6.2.31 -> 7.1.0  root: backup | auth (2, shrink) | proxy (2) | node (19)
                          eu: backup | auth (1) | node (3)
                          us: backup | auth (1) | node (4)
gates 16 (2 approvals from \`sre\` at each point of no return: 6)
quarantined  node-07 (broken fan)
ahead, left alone  eu-node-4
undeclared, never touched  stray
risk  skew-at-start: eu is out of step already: node eu-node-4 7.2.0-rc.1
risk  left-behind: node-07 would stay at 5.4.2, more than one major behind auth at 7.1.0 [accepted by ann: it is scrap]
plan ${result.plan.id.slice(0, 12)}
`,
  );
});

t.test("clusters that go the same way share a line", async (t) => {
  const result = planUpgrade(inputFor(FLEET, "6.2.31"));
  t.match(result.ok && renderPlan(result.plan), /\n +eu: backup \| auth \(1\) \| node \(4\) {3}then us\n/);
});

t.test("nothing to do, and no plan", async (t) => {
  const input = inputFor(FLEET, "6.2.31");
  const nothing = planUpgrade({ ...input, facts: factsOf(input.fleet, "6.2.31") });
  t.equal(nothing.ok && renderPlan(nothing.plan), "Nothing to do: all of acme is at 6.2.31\n");
  t.equal(planExitCode(nothing), 0);
  t.equal(planExitCode(planUpgrade(input)), 2);

  const refused = planUpgrade({ ...input, facts: factsOf(input.fleet, "5.4.2", { "node-01": { reachable: false } }) });
  t.equal(planExitCode(refused), 1);
  t.equal(
    refused.ok || renderBlocked(refused),
    `No plan to 6.2.31: 1 reason
  host-unreachable  node-01 can't be reached
    -> Bring its agent back, set it aside with --quarantine node-01, or declare \`offline: quarantine\`.
`,
  );
});

t.test("JSON has the same members either way", async (t) => {
  const plan = planJson(planUpgrade(inputFor(FLEET, "6.2.31")));
  t.match(plan, { id: /^[0-9a-f]{64}$/, to: "6.2.31", blocked: [], risks: [] });
  t.match(plan.hops[0]?.stages[3], {
    id: "hop-1.root.auth",
    cluster: "root",
    kind: "auth",
    role: "auth",
    batches: [["auth-1"]],
    gate: { kind: "auth" },
  });
  const refused = planJson(planUpgrade(inputFor(FLEET, "9.0.0")));
  t.match(refused, { id: null, to: "9.0.0", hops: [], risks: [], blocked: [{ code: "release-unknown" }] });
});

t.test("a fleet that can't be planned is refused with the same codes", async (t) => {
  const refused = (text: string) => {
    try {
      parseFleet(text, "fleet.yaml");
    } catch (error) {
      if (error instanceof BelayError) return refusedFleet(error, "7.1.0");
    }
    throw new Error("it was accepted");
  };
  t.match(refused("fleet: f\nclusters: [{ name: a, trusts: a, hosts: [{ name: h, roles: [auth] }] }]"), {
    ok: false,
    blocked: [{ code: "trust-cycle", subject: "clusters[0].trusts", message: /^fleet\.yaml:2:\d+: / }],
  });
  t.equal(refused("fleet: [}"), null, "what is no fleet file is an error, not a refusal");
});

t.test("findings, a line each", async (t) => {
  t.equal(renderFindings([]), "No invariant is broken.\n");
  t.equal(
    renderFindings([{ invariant: "I1", where: "hop-1.main.node", subject: "n", message: "node n is ahead" }]),
    "I1  hop-1.main.node  node n is ahead\n",
  );
});
