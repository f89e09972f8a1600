import type { Gate, Hop, Plan, PlanHost, Stage } from "@belay/controller/plan/plan";
import type { Role } from "@belay/shared";

/**
 * Small plans made by hand, so that tests of a run depend on no planner. Not for linting: ids are invented, and only
 * what a run reads is there.
 */
export function planOf(
  hops: readonly Hop[],
  hosts: Readonly<Record<string, PlanHost>>,
  more: Partial<Plan> = {},
): Plan {
  return {
    id: "f".repeat(64),
    format: 1,
    kind: "upgrade",
    fleet: "acme",
    product: "teleport",
    environment: "production",
    to: hops.at(-1)?.to ?? "5.0.0",
    clusters: Object.fromEntries(
      [...new Set(Object.values(hosts).map(({ cluster }) => cluster))].map((name) => [
        name,
        { ha: "shrink", vars: {} },
      ]),
    ),
    hosts,
    releases: {},
    hops,
    risks: [],
    quarantined: [],
    ahead: [],
    undeclared: [],
    outOfScope: [],
    budgetRun: 1000,
    vars: {},
    programs: PROGRAMS,
    ...more,
  };
}

/** Op kinds alone: a run reads nothing else of a program. */
export const PROGRAMS: Plan["programs"] = {
  noop: [{ kind: "noop" }],
  preflight: [{ kind: "preflight" }],
  fetch: [{ kind: "fetch" }],
  backup: [{ kind: "backup" }, { kind: "verify-backup" }],
  upgrade: [{ kind: "swap" }, { kind: "health" }],
  "upgrade:auth": [{ kind: "backup" }, { kind: "swap" }, { kind: "health" }],
  stop: [{ kind: "stop" }],
  verify: [{ kind: "health" }],
  nothing: [],
};

export function host(role: Role = "node", more: Partial<PlanHost> = {}): PlanHost {
  return {
    cluster: "main",
    roles: [role],
    role,
    version: "5.4.2",
    platform: { os: "linux", arch: "amd64", edition: "oss", fips: false },
    vars: {},
    ...more,
  };
}

/** `hosts("node", 3)`: node-1, node-2, node-3. */
export function hosts(role: Role, count: number, more: Partial<PlanHost> = {}, prefix: string = role) {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}-${index + 1}`, host(role, more)]));
}

export function stage(id: string, batches: readonly (readonly string[])[], more: Partial<Stage> = {}): Stage {
  const [, cluster = "main", kind = "node"] = id.split(".");
  return {
    id,
    cluster,
    kind: kind as Stage["kind"],
    role: null,
    batches,
    gate: null,
    stop: [],
    program: kind === "node" || kind === "proxy" || kind === "auth" ? "upgrade" : kind,
    parallel: 10,
    canaries: 0,
    budget: { batch: 0, stage: 0 },
    settleMs: 0,
    stepTimeoutMs: 60_000,
    attempts: 3,
    ...more,
  };
}

export function hop(id: string, from: string, to: string, stages: readonly Stage[]): Hop {
  return { id, from, to, stages };
}

export function gate(id: string, more: Partial<Gate> = {}): Gate {
  return {
    id,
    kind: "node",
    approvals: 1,
    group: null,
    timeoutMs: 3_600_000,
    onTimeout: "hold",
    pointOfNoReturn: false,
    ...more,
  };
}

/** One stage of nodes and nothing else: where most rules can be seen alone. */
export function nodesPlan(
  batches: readonly (readonly string[])[],
  more: Partial<Stage> = {},
  planMore: Partial<Plan> = {},
) {
  const names = batches.flat();
  return planOf(
    [hop("hop-1", "5.4.2", "6.2.31", [stage("hop-1.main.node", batches, more)])],
    Object.fromEntries(names.map((name) => [name, host("node")])),
    planMore,
  );
}

/** A whole cluster over one major or two: 2 auth (shrink), 2 proxies, 4 nodes, with a gate in front of each role. */
export function clusterPlan(hops = 1, more: Partial<Plan> = {}): Plan {
  const versions = ["5.4.2", "6.2.31", "7.1.0", "8.0.0"];
  const all = { ...hosts("auth", 2), ...hosts("proxy", 2), ...hosts("node", 4) };
  return planOf(
    Array.from({ length: hops }, (_, index) => {
      const id = `hop-${index + 1}`;
      return hop(id, versions[index] ?? "", versions[index + 1] ?? "", [
        stage(`${id}.main.preflight`, [Object.keys(all)]),
        stage(`${id}.main.backup`, [["auth-1", "auth-2"]]),
        stage(`${id}.main.auth`, [["auth-1"]], {
          stop: ["auth-2"],
          gate: gate(`${id}.main.auth`, { kind: "auth", approvals: 2, pointOfNoReturn: true }),
        }),
        stage(`${id}.main.auth-rest`, [["auth-2"]], {
          kind: "auth",
          program: "upgrade",
          gate: gate(`${id}.main.auth-rest`, { kind: "auth-rest" }),
        }),
        stage(`${id}.main.proxy`, [["proxy-1"], ["proxy-2"]], {
          canaries: 1,
          gate: gate(`${id}.main.proxy`, { kind: "proxy" }),
        }),
        stage(`${id}.main.node`, [["node-1"], ["node-2", "node-3", "node-4"]], {
          canaries: 1,
          parallel: 2,
          budget: { batch: 1, stage: 2 },
          gate: gate(`${id}.main.node`, { kind: "node" }),
        }),
        stage(`${id}.main.verify`, [Object.keys(all)]),
      ]);
    }),
    all,
    more,
  );
}
