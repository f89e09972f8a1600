import { readFileSync } from "node:fs";
import { parseFleet } from "@belay/controller/inventory/parse";
import { planUpgrade } from "@belay/controller/plan/planner";
import { belayAgent } from "@belay/controller/products/belay-agent";
import { teleport } from "@belay/controller/products/teleport";
import t from "tap";
import { factsOf, inputFor } from "../support/fleets.js";

const reference = readFileSync(new URL("../../docs/fleet.md", import.meta.url), "utf8");
const example = /```yaml\n([\s\S]*?)```/.exec(reference)?.[1] ?? "";

t.test("the example of the reference is a fleet that can be planned", async (t) => {
  const fleet = parseFleet(example, "docs/fleet.md");
  t.equal(fleet.clusters[0]?.hosts.length, 4 + 200 + 40 + 1);
  t.match(fleet.gates.byCluster, { eu: { node: { approvals: 2 } }, main: { node: { onTimeout: "proceed" } } });
  const result = planUpgrade(inputFor(fleet, "6.2.31", { facts: factsOf(fleet, "5.4.2", {}, { cloud: "7.1.0" }) }));
  t.equal(result.ok, true, JSON.stringify(result.ok ? "" : result.blocked));
});

t.test("the reference lists every variable with its default", async (t) => {
  const rows = [...reference.matchAll(/^\| `(\w+)` \| (?:`(.*?)`)? ?\|/gm)].map(([, name, value]) => [
    name,
    value ?? "",
  ]);
  t.same(Object.fromEntries(rows), teleport.vars);
});

t.test("the reference names every variable of the agents' own upgrade, and its default", async (t) => {
  for (const [name, value] of Object.entries(belayAgent.vars)) {
    t.match(reference, new RegExp(`\`${name}\`[^\`]*\`${value.replace(/[{}]/g, "\\$&")}\``), name);
  }
});

t.test("the defaults of the reference are those of a fleet that says nothing", async (t) => {
  const { rollout, gates } = parseFleet(
    "fleet: f\nclusters: [{ name: a, hosts: [{ name: h, roles: [auth] }] }]",
    "f.yaml",
  );
  for (const role of ["auth", "proxy", "node"] as const) {
    const { canary, batch, settleMs, budget, attempts, stepTimeoutMs } = rollout[role];
    const size = role === "auth" ? "one at a time" : batch[0];
    const cells = [
      role,
      canary || "none",
      size,
      `${settleMs / 1000}s`,
      `${budget.batch}, ${budget.stage}`,
      attempts,
      `${stepTimeoutMs / 60_000}m`,
    ];
    t.match(reference, `| ${cells.join(" | ")} |`);
  }
  t.same([rollout.parallel, rollout.budgetRun, gates.default.timeoutMs], [50, "5%", 86_400_000]);
});
