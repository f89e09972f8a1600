import type { Plan, Stage } from "@belay/controller/plan/plan";
import { sealPlan } from "@belay/controller/plan/seal";

/** Its name is in every host's certificate. */
export const FLEET = "bench";
const VERSION = "6.2.31";
const CLUSTER = "main";
/** Wide enough for 10,000 hosts. */
const DIGITS = 5;

/** `node-00001`, `node-00002`, ... */
export function hostNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `node-${String(index + 1).padStart(DIGITS, "0")}`);
}

/**
 * A plan that does nothing: one stage, in which every host carries out `steps` no-ops, one after the other, all hosts at
 * once. Only the planner makes real ones; this one isolates what a step costs.
 */
export function noopPlan(hosts: readonly string[], steps: number): Plan {
  const stage: Stage = {
    id: `hop-1.${CLUSTER}.verify`,
    cluster: CLUSTER,
    kind: "verify",
    role: null,
    batches: [hosts],
    gate: null,
    stop: [],
    program: "verify",
    parallel: hosts.length,
    canaries: 0,
    budget: { batch: 0, stage: 0 },
    settleMs: 0,
    stepTimeoutMs: 60_000,
    attempts: 1,
  };
  return sealPlan({
    format: 1,
    kind: "upgrade",
    fleet: FLEET,
    product: "teleport",
    environment: "bench",
    to: VERSION,
    clusters: { [CLUSTER]: { ha: "shrink", vars: {} } },
    hosts: Object.fromEntries(
      hosts.map((host) => [
        host,
        {
          cluster: CLUSTER,
          roles: ["node"],
          role: "node",
          version: VERSION,
          platform: { os: "linux", arch: "amd64", edition: "oss", fips: false },
          vars: {},
        },
      ]),
    ),
    releases: {},
    hops: [{ id: "hop-1", from: VERSION, to: VERSION, stages: [stage] }],
    risks: [],
    quarantined: [],
    ahead: [],
    undeclared: [],
    outOfScope: [],
    budgetRun: 0,
    vars: {},
    programs: { verify: Array.from({ length: steps }, () => ({ kind: "noop" })) },
  });
}

/** The same hosts as fleet.yaml. Their folders, as far as facts look at any, lie below `dir`. */
export function fleetYaml(count: number, dir: string): string {
  const range = `[${"1".padStart(DIGITS, "0")}:${String(count).padStart(DIGITS, "0")}]`;
  return [
    `fleet: ${FLEET}`,
    "product: teleport",
    "environment: bench",
    `vars: { install: "${dir}", data: "${dir}", backups: "${dir}", binDir: "${dir}" }`,
    "clusters:",
    `  - name: ${CLUSTER}`,
    "    hosts:",
    "      - { name: auth-1, roles: [auth] }",
    `      - { name: "node-${range}", roles: [node] }`,
    "",
  ].join("\n");
}
