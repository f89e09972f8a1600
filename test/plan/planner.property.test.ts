import { deepStrictEqual, equal, ok } from "node:assert/strict";
import { parseFleet } from "@belay/controller/inventory/parse";
import type { FleetFacts, HostFact, PlanInput } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { factsAsPlanned, fleetAsPlanned } from "@belay/controller/plan/lint/declared";
import { type Plan, REASON_CODES } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, opsFor, stopOpsFor, versionBefore } from "@belay/controller/plan/program";
import { compareVersions, decodeOp, majorOf } from "@belay/shared";
import fc from "fast-check";
import t from "tap";
import { catalogueOf, inputFor } from "../support/fleets.js";

const RUNS = Number(process.env.BELAY_PROPERTY_RUNS ?? 1000);
const seed = Number(process.env.BELAY_SEED ?? Date.now() % 2 ** 31);
const VERSIONS = ["5.4.2", "6.0.0", "6.2.31", "7.0.0", "7.1.0", "8.0.0", "8.1.0-rc.1"];

const share = fc.integer({ min: 1, max: 100 }).map((percent) => `"${percent}%"`);
const amount = fc.oneof(fc.integer({ min: 1, max: 4 }).map(String), share);
const roles = fc.constantFrom(
  "[auth]",
  "[proxy]",
  "[node]",
  "[node]",
  "[node]",
  "[auth, proxy]",
  "[auth, proxy, node]",
  "[proxy, node]",
);

interface ClusterShape {
  readonly trusts: number | null;
  readonly ha: string;
  readonly managed: boolean;
  readonly roles: readonly string[];
}

/** Clusters whose trust leads to an earlier one: a forest of any depth. */
const clusters = fc
  .array(
    fc.record({
      trusts: fc.option(fc.nat(5), { nil: null }),
      ha: fc.constantFrom("shrink", "rolling"),
      managed: fc.boolean().map((yes) => yes),
      roles: fc.array(roles, { maxLength: 6 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((shapes): ClusterShape[] =>
    shapes.map((shape, index) => ({
      ...shape,
      managed: shape.managed && index % 3 === 2,
      trusts: shape.trusts === null || index === 0 ? null : shape.trusts % index,
    })),
  );

const scenarios = fc.record({
  clusters,
  reversed: fc.boolean(),
  policy: fc.tuple(fc.nat(3), fc.array(amount, { minLength: 1, maxLength: 3 }), amount),
  environment: fc.constantFrom("production", "production", "staging"),
  offline: fc.constantFrom("hold", "quarantine"),
  to: fc.constantFrom("6.2.31", "7.0.0", "7.1.0", "8.0.0", "8.1.0-rc.1"),
  /** Mostly even fleets: a wild one is seldom planned. */
  base: fc.constantFrom("5.4.2", "6.0.0", "6.2.31", "7.0.0"),
  odd: fc.array(fc.tuple(fc.nat(30), fc.constantFrom(...VERSIONS, null)), { maxLength: 3 }),
  offlineHosts: fc.array(fc.nat(30), { maxLength: 1 }),
  quarantine: fc.array(fc.nat(30), { maxLength: 2 }),
  limit: fc.option(fc.array(fc.nat(30), { minLength: 1, maxLength: 12 }), { nil: null, freq: 6 }),
  scope: fc.option(fc.nat(3), { nil: null, freq: 6 }),
  tenant: fc.constantFrom("7.1.0", "8.0.0", "8.1.0", null),
  accept: fc.boolean(),
});
type Scenario = typeof scenarios extends fc.Arbitrary<infer S> ? S : never;

t.test("every plan is clean and arrives; every refusal says why and what to do", async (t) => {
  const seen = { planned: 0, blocked: 0, moved: 0 };
  t.comment(`seed ${seed}, ${RUNS} runs; again with BELAY_SEED=${seed}`);
  fc.assert(
    fc.property(scenarios, (scenario) => {
      const input = build(scenario);
      const result = planUpgrade(input);
      if (!result.ok) {
        seen.blocked++;
        ok(result.blocked.length > 0);
        for (const reason of result.blocked) {
          ok((REASON_CODES as readonly string[]).includes(reason.code), reason.code);
          ok(reason.message !== "" && reason.hint !== undefined && reason.hint !== "", reason.code);
        }
        return;
      }
      seen.planned++;
      if (result.plan.hops.length > 0) seen.moved++;
      deepStrictEqual(lintPlan(result.plan, input.fleet, input.facts), []);
      deepStrictEqual(lintPlan(result.plan, fleetAsPlanned(result.plan), factsAsPlanned(result.plan)), []);
      checkArrival(result.plan, input);
      checkOps(result.plan);
      deepStrictEqual(planUpgrade(input), result, "planning again gives the same plan");
    }),
    { seed, numRuns: RUNS },
  );
  // A generator whose fleets were all refused would prove nothing.
  t.ok(
    seen.moved > RUNS / 10,
    `of ${RUNS}: ${seen.moved} plans with hops, ${seen.planned - seen.moved} without, ${seen.blocked} refusals`,
  );
  t.ok(seen.blocked > RUNS / 20, "refusals too");
});

function checkArrival(plan: Plan, { facts, fleet }: PlanInput): void {
  const index = indexPlan(plan);
  const aside = new Set([...plan.quarantined.map(({ host }) => host), ...plan.ahead, ...plan.outOfScope]);
  for (const { name } of fleet.clusters.flatMap((cluster) => cluster.hosts)) {
    const version = facts.hosts[name]?.version;
    if (aside.has(name)) ok(!plan.hosts[name], `${name} is left alone`);
    else if (plan.hosts[name] === undefined) equal(version, plan.to, `${name} is there already`);
    else equal(versionBefore(index, name, plan.hops.length), plan.to, `${name} arrives`);
  }
  for (const [at, hop] of plan.hops.entries()) {
    for (const name of index.moves.keys()) {
      if (!index.moves.get(name)?.includes(at)) continue;
      const before = versionBefore(index, name, at);
      ok(
        compareVersions(before, hop.to) < 0 && majorOf(hop.to) - majorOf(before) <= 1,
        `I3: ${name} ${before} -> ${hop.to}`,
      );
    }
  }
}

/** Every op of every host of every stage is one that an agent would take. */
function checkOps(plan: Plan): void {
  const index = indexPlan(plan);
  for (const stage of plan.hops.flatMap((hop) => hop.stages)) {
    const where = (host: string) => ({ run: "run-1", stage: stage.id, host });
    for (const host of stage.batches.flat()) for (const op of opsFor(index, where(host))) decodeOp(op);
    for (const host of stage.stop) equal(stopOpsFor(index, where(host))[0]?.kind, "stop");
  }
}

function build(scenario: Scenario): PlanInput {
  const [canary, batch, budget] = scenario.policy;
  const blocks = scenario.clusters.map(({ trusts, ha, managed, roles: given }, index) => {
    const own = managed ? given.filter((role) => role === "[node]") : ["[auth]", ...given];
    const hosts = (own.length === 0 ? ["[node]"] : own).map((role, at) => `{ name: c${index}-h${at}, roles: ${role} }`);
    const root = trusts === null ? "" : `trusts: c${trusts}, `;
    const tenant = managed ? `managed: { address: t${index}.example }, ` : "";
    return `  - { name: c${index}, ${root}${tenant}ha: ${ha}, hosts: [${hosts.join(", ")}] }`;
  });
  if (scenario.reversed) blocks.reverse();
  const fleet = parseFleet(
    `
fleet: random
environment: ${scenario.environment}
offline: ${scenario.offline}
rollout:
  node: { canary: ${canary}, batch: [${batch.join(", ")}], budget: { batch: ${budget}, stage: ${budget} } }
  proxy: { canary: ${canary % 2}, batch: [${batch.join(", ")}] }
clusters:
${blocks.join("\n")}
`,
    "random.yaml",
  );
  const names = fleet.clusters.flatMap((cluster) => cluster.hosts.map((host) => host.name));
  const pick = (at: number) => names[at % names.length] ?? "";
  const limit = scenario.limit === null ? [] : [...new Set(scenario.limit.map(pick))];
  const quarantine = [...new Set(scenario.quarantine.map(pick))].map((host) => ({ host, reason: "chosen" }));
  const clusterNames = fleet.clusters.map((cluster) => cluster.name);
  const input = inputFor(fleet, scenario.to, {
    facts: factsFor(scenario, names, pick, clusterNames),
    catalogue: catalogueOf(VERSIONS),
    quarantine,
    limit,
    clusters: scenario.scope === null ? [] : [clusterNames[scenario.scope % clusterNames.length] ?? ""],
  });
  return scenario.accept ? acceptAll(input) : input;
}

/** Accepts by name whatever may be accepted, as a person would who reads the refusal. */
function acceptAll(input: PlanInput): PlanInput {
  const first = planUpgrade(input);
  if (first.ok) return input;
  const acceptable = first.blocked.filter(({ code }) => ["left-behind", "prerelease-refused"].includes(code));
  return {
    ...input,
    acceptRisks: acceptable.map(({ code, subject }) => ({ code, subject, by: "prop", why: "random" })),
  };
}

function factsFor(
  scenario: Scenario,
  names: string[],
  pick: (at: number) => string,
  clusterNames: string[],
): FleetFacts {
  const hosts: Record<string, HostFact> = {};
  const fact = (version: string | null): HostFact => ({
    version,
    reachable: true,
    os: "linux",
    arch: "amd64",
    edition: "oss",
    fips: false,
  });
  for (const name of names) hosts[name] = fact(scenario.base);
  for (const [at, version] of scenario.odd) hosts[pick(at)] = fact(version);
  for (const at of scenario.offlineHosts) hosts[pick(at)] = { ...fact(scenario.base), reachable: false };
  return {
    hosts,
    managed: Object.fromEntries(clusterNames.map((name) => [name, { server_version: scenario.tenant }])),
  };
}
