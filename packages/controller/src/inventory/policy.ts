import type { Field } from "./document.js";
import { parseDuration } from "./duration.js";
import type { Amount, GateKind, GatePolicies, GatePolicy, RolloutPolicies, RolloutPolicy } from "./fleet.js";

const GATE_KINDS: readonly GateKind[] = ["start", "auth", "auth-rest", "proxy", "node", "failure"];
const ON_TIMEOUT = ["hold", "deny", "proceed", "rollback"] as const;
const DAY_MS = 86_400_000;
/** A step may take as long as the protocol's largest timeout allows. */
const MAX_STEP_TIMEOUT_MS = DAY_MS;
const MAX_GATE_TIMEOUT_MS = 365 * DAY_MS;

const DEFAULT_GATE: GatePolicy = { approvals: 1, timeoutMs: DAY_MS, onTimeout: "hold" };

const DEFAULT_ROLLOUT: RolloutPolicy = {
  canary: 0,
  batch: [1],
  settleMs: 10_000,
  budget: { batch: 0, stage: 0 },
  attempts: 3,
  stepTimeoutMs: 30 * 60_000,
};

type ClusterGates = Partial<Record<GateKind | "default", Partial<GatePolicy>>>;

/** `gates:` of the fleet, with what clusters say themselves (`own`) on top. */
export function readGates(field: Field, clusters: readonly string[], own: Record<string, ClusterGates>): GatePolicies {
  const members = field.members(["default", "clusters", ...GATE_KINDS]);
  const byCluster: Record<string, ClusterGates> = {};
  for (const { key, value } of members.clusters.entries()) {
    if (clusters.includes(key)) byCluster[key] = readClusterGates(value);
    else value.note(`there is no cluster "${key}"`);
  }
  for (const [cluster, gates] of Object.entries(own)) byCluster[cluster] = { ...byCluster[cluster], ...gates };
  return {
    default: { ...DEFAULT_GATE, ...readGate(members.default) },
    byKind: Object.fromEntries(
      GATE_KINDS.filter((kind) => members[kind].present).map((kind) => [kind, readGate(members[kind])]),
    ),
    byCluster,
  };
}

/** The gates of one cluster, by kind or `default`. */
export function readClusterGates(field: Field): ClusterGates {
  const kinds = ["default", ...GATE_KINDS] as const;
  const members = field.members(kinds);
  return Object.fromEntries(
    kinds.filter((kind) => members[kind].present).map((kind) => [kind, readGate(members[kind])]),
  );
}

function readGate(field: Field): Partial<GatePolicy> {
  const members = field.members(["approvals", "group", "timeout", "onTimeout", "requesterMayApprove"]);
  return present({
    approvals: members.approvals.count(1, 100),
    group: members.group.text(),
    timeoutMs: readDuration(members.timeout, 1, MAX_GATE_TIMEOUT_MS),
    onTimeout: members.onTimeout.choice(ON_TIMEOUT),
    requesterMayApprove: members.requesterMayApprove.flag(),
  });
}

/** `rollout:` with its defaults. Auth has no batches to choose: I5 says how its instances take turns. */
export function readRollout(field: Field): RolloutPolicies {
  const members = field.members(["auth", "proxy", "node", "parallel", "budget"]);
  for (const { key, value } of members.auth.entries()) {
    if (key === "batch" || key === "canary") value.note("auth instances always go one at a time");
  }
  const run = [members.budget, members.auth, members.proxy, members.node]
    .map((part, index) => budgetRun(part, index === 0))
    .filter((amount) => amount !== undefined);
  if (run.length > 1) members.budget.note("the run's budget is given more than once");
  return {
    auth: readRole(members.auth, DEFAULT_ROLLOUT),
    proxy: readRole(members.proxy, { ...DEFAULT_ROLLOUT, canary: 1, batch: ["50%"] }),
    node: readRole(members.node, { ...DEFAULT_ROLLOUT, canary: 1, batch: ["20%"] }),
    parallel: members.parallel.count(1, 10_000) ?? 50,
    budgetRun: run[0] ?? "5%",
  };
}

function readRole(field: Field, defaults: RolloutPolicy): RolloutPolicy {
  const members = field.members(["canary", "batch", "settle", "budget", "attempts", "stepTimeout"]);
  const budget = members.budget.members(["batch", "stage", "run"]);
  return {
    canary: members.canary.count(0, 1000) ?? defaults.canary,
    batch: readBatches(members.batch) ?? defaults.batch,
    settleMs: readDuration(members.settle, 0, MAX_STEP_TIMEOUT_MS) ?? defaults.settleMs,
    budget: {
      batch: readAmount(budget.batch, 0) ?? defaults.budget.batch,
      stage: readAmount(budget.stage, 0) ?? defaults.budget.stage,
    },
    attempts: members.attempts.count(1, 100) ?? defaults.attempts,
    stepTimeoutMs: readDuration(members.stepTimeout, 100, MAX_STEP_TIMEOUT_MS) ?? defaults.stepTimeoutMs,
  };
}

/** The run's own budget may stand in `rollout.budget` or in a role's; wherever it is, it is the run's. */
function budgetRun(field: Field, isBudget: boolean): Amount | undefined {
  const budget = isBudget ? field : field.entries().find(({ key }) => key === "budget")?.value;
  if (budget === undefined) return undefined;
  const run = isBudget ? budget.members(["run"]).run : budget.entries().find(({ key }) => key === "run")?.value;
  return run === undefined ? undefined : readAmount(run, 0);
}

function readBatches(field: Field): [Amount, ...Amount[]] | undefined {
  if (!field.present) return undefined;
  const [first, ...others] = (field.isList() ? field.items() : [field]).map((item) => readAmount(item, 1));
  if (first === undefined) return field.isList() ? field.note("needs at least one batch size") : undefined;
  return [first, ...others.filter((amount) => amount !== undefined)];
}

function readAmount(field: Field, minimum: number): Amount | undefined {
  const text = field.text();
  if (text === undefined) return undefined;
  const percent = /^(\d{1,3})%$/.exec(text)?.[1];
  if (percent !== undefined && Number(percent) >= minimum && Number(percent) <= 100) return `${Number(percent)}%`;
  if (/^\d{1,6}$/.test(text) && Number(text) >= minimum) return Number(text);
  return field.note(`must be a count or a share such as "20%", at least ${minimum}, not "${text}"`);
}

/** A duration within limits; undefined when absent or no such. */
export function readDuration(field: Field, minimumMs: number, maximumMs: number): number | undefined {
  const text = field.text();
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === null) return field.note(`must be a duration such as 10s, 5m, 24h or 7d, not "${text}"`);
  if (ms >= minimumMs && ms <= maximumMs) return ms;
  return field.note(`must be from ${minimumMs} ms to ${maximumMs} ms, not ${ms} ms`);
}

function present<T extends object>(members: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;
}
