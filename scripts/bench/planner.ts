import type { PlanInput } from "@belay/controller/plan/input";
import { lintPlan } from "@belay/controller/plan/lint";
import { planUpgrade } from "@belay/controller/plan/planner";
import { BelayError } from "@belay/shared";
import { catalogueOf, inputFor, syntheticFleet } from "../../test/support/fleets.js";
import { figure, table } from "./screen.js";
import { median } from "./statistics.js";

export interface PlannerRow {
  readonly hosts: number;
  readonly clusters: number;
  readonly hops: number;
  readonly stages: number;
  /** Medians, milliseconds. */
  readonly planMs: number;
  readonly lintMs: number;
  /** Plan and lint together, the first time, before the engine has compiled anything: a person who plans once waits this long. */
  readonly firstMs: number;
  /** Median processor time of both together, milliseconds: hardly depends on what else the machine does. */
  readonly cpuMs: number;
  /** The same where approvals are signed: every step of every host is a leaf of the plan's tree, and the linter finds its root again. */
  readonly signedCpuMs: number;
}

const SIZES = [
  { hosts: 10_000, clusters: 50 },
  { hosts: 1_000, clusters: 5 },
  { hosts: 100, clusters: 1 },
];
const REPEATS = 5;
/** 5.4.2 to 8.1.0 takes three hops. */
export const RELEASES = ["5.4.2", "6.0.0", "6.2.31", "7.0.0", "7.1.0", "7.3.2", "8.0.0", "8.1.0"];
export const TO = "8.1.0";

/** Plans and lints made-up fleets. The largest comes first, so that its first time is a cold one. */
export function benchPlanner(): PlannerRow[] {
  return SIZES.map(measure).reverse();
}

function measure({ hosts, clusters }: { hosts: number; clusters: number }): PlannerRow {
  const input = inputFor(syntheticFleet(hosts, clusters), TO, { catalogue: catalogueOf(RELEASES) });
  const planMs: number[] = [];
  const lintMs: number[] = [];
  const cpuMs: number[] = [];
  let size = { hops: 0, stages: 0 };
  for (let round = 0; round < REPEATS; round += 1) {
    const cpu = process.cpuUsage();
    const start = performance.now();
    const result = planUpgrade(input);
    const planned = performance.now();
    if (!result.ok) throw new BelayError("bench-unplanned", `no plan: ${result.blocked[0]?.message}`);
    const findings = lintPlan(result.plan, input.fleet, input.facts);
    const linted = performance.now();
    const { user, system } = process.cpuUsage(cpu);
    if (findings.length > 0) throw new BelayError("bench-unplanned", `${findings.length} findings in the plan`);
    planMs.push(planned - start);
    lintMs.push(linted - planned);
    cpuMs.push((user + system) / 1_000);
    const { hops } = result.plan;
    size = { hops: hops.length, stages: hops.reduce((sum, hop) => sum + hop.stages.length, 0) };
  }
  const firstMs = (planMs[0] ?? 0) + (lintMs[0] ?? 0);
  const medians = { planMs: median(planMs), lintMs: median(lintMs), cpuMs: median(cpuMs) };
  return { hosts, clusters, ...size, ...medians, firstMs, signedCpuMs: signedCpu(input) };
}

function signedCpu(recorded: PlanInput): number {
  const input: PlanInput = { ...recorded, fleet: { ...recorded.fleet, approvals: "signed" } };
  const rounds = Array.from({ length: REPEATS }, () => {
    const cpu = process.cpuUsage();
    const result = planUpgrade(input);
    if (!result.ok) throw new BelayError("bench-unplanned", `no plan: ${result.blocked[0]?.message}`);
    const findings = lintPlan(result.plan, input.fleet, input.facts);
    if (findings.length > 0) throw new BelayError("bench-unplanned", `${findings.length} findings in the plan`);
    const { user, system } = process.cpuUsage(cpu);
    return (user + system) / 1_000;
  });
  return median(rounds);
}

export function showPlanner(rows: readonly PlannerRow[]): string[] {
  return [
    "planner",
    ...table([
      [
        "  hosts",
        "clusters",
        "hops",
        "stages",
        "plan ms",
        "lint ms",
        "together",
        "first time",
        "CPU ms",
        "signed, CPU ms",
      ],
      ...rows.map(({ hosts, clusters, hops, stages, planMs, lintMs, firstMs, cpuMs, signedCpuMs }) => [
        `  ${figure(hosts)}`,
        ...[clusters, hops, stages].map((count) => figure(count)),
        ...[planMs, lintMs, planMs + lintMs, firstMs, cpuMs, signedCpuMs].map((ms) => figure(ms, 1)),
      ]),
    ]),
  ];
}
