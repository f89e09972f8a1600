import type { GateView } from "../api/contract.js";
import type { Stage } from "../plan/plan.js";
import type { FailureRecord, GateRecord, RunState } from "./state.js";

/** One gate of a run, opened or not, failure gates too; null: the run has no such gate. */
export function gateViewOf(state: RunState, gate: string): GateView | null {
  const failure = state.failureGates.get(gate);
  if (failure !== undefined) return failureView(state, failure);
  const record = state.stages.find(({ stage }) => stage.gate?.id === gate);
  return record === undefined ? null : stageGateView(state, record.stage);
}

/** Every gate of the run: those of the plan in its order, each stage's failure gates behind it. None in check mode. */
export function gateViewsOf(state: RunState): GateView[] {
  if (state.check) return [];
  const failures = [...state.failureGates.values()];
  return state.stages.flatMap(({ stage, failureGates }) => {
    const view = stageGateView(state, stage);
    const own = failureGates === 0 ? [] : failures.filter((failure) => failure.stage === stage.id);
    return [...(view === null ? [] : [view]), ...own.map((failure) => failureView(state, failure))];
  });
}

/** The gate that people are asked about now, or null. */
export function openGateViewOf(state: RunState): GateView | null {
  if (state.ending !== null || state.ended !== null) return null;
  if (state.openFailure !== null) return failureView(state, state.openFailure);
  if (state.openGate === null) return null;
  return gateViewOf(state, state.openGate.gate.id);
}

function stageGateView(state: RunState, stage: Stage): GateView | null {
  const { gate } = stage;
  if (gate === null) return null;
  const record = state.gates.get(gate.id);
  return {
    run: state.run,
    gate: gate.id,
    kind: gate.kind,
    stage: stage.id,
    status: record === undefined ? "not-open" : statusOf(state, record),
    approvalsNeeded: gate.approvals,
    group: gate.group,
    notBy: gate.requesterMayApprove === true ? null : state.startedBy,
    decisions: [...(record?.decisions ?? [])],
    openedAt: record?.openedAt ?? null,
    expiresAt: record?.expiresAt ?? null,
    onTimeout: gate.onTimeout,
    overdue: record !== undefined && record === state.openGate && record.expired === "hold",
    pointOfNoReturn: gate.pointOfNoReturn,
    ...(state.plan.approvals === undefined ? {} : { mustSign: true }),
    cause: null,
    evidence: record?.evidence ?? null,
  };
}

function statusOf(state: RunState, record: GateRecord): GateView["status"] {
  if (record.passed !== null) return "passed";
  if (record.decisions.some(({ decision }) => decision === "reject")) return "rejected";
  if (record.expired === "deny" || record.expired === "rollback") return "expired";
  // The run was ended while this gate stood open.
  return state.ending !== null || state.ended !== null ? "decided" : "open";
}

function failureView(state: RunState, failure: FailureRecord): GateView {
  const isOver = failure.decision !== null || state.ending !== null || state.ended !== null;
  return {
    run: state.run,
    gate: failure.id,
    kind: "failure",
    stage: failure.stage,
    status: isOver ? "decided" : "open",
    approvalsNeeded: 1,
    group: null,
    notBy: null,
    decisions: failure.decision === null ? [] : [failure.decision],
    openedAt: failure.openedAt,
    expiresAt: null,
    onTimeout: "hold",
    overdue: false,
    pointOfNoReturn: false,
    cause: failure.cause,
    evidence: failure.evidence,
  };
}
