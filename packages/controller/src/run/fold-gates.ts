import type { EventOf } from "./event.js";
import { atWork, forgive, setAside } from "./fold-hosts.js";
import { currentStage } from "./fold-stages.js";
import { failedHosts, isApproval } from "./guard-gates.js";
import { leftBehind } from "./order.js";
import type { FailureRecord, GateRecord, RunState } from "./state.js";

export function foldGateOpened(state: RunState, event: EventOf<"gate-opened">): void {
  const { stage } = currentStage(state);
  if (stage.gate === null) throw new TypeError("legal() lets no gate open that the plan doesn't have");
  const record: GateRecord = {
    gate: stage.gate,
    stage: stage.id,
    openedAt: event.at,
    expiresAt: event.expiresAt,
    evidence: event.evidence,
    decisions: [],
    expired: null,
    passed: null,
  };
  state.gates.set(event.gate, record);
  state.openGate = record;
}

export function foldGateDecided(state: RunState, event: EventOf<"gate-decided">): void {
  const { decision, by, reason, at, signed, tokenBy } = event;
  const token = tokenBy === undefined ? {} : { tokenBy };
  state.openGate?.decisions.push({ decision, by, reason, at, ...token, ...(signed === undefined ? {} : { signed }) });
  if (decision !== "reject") return;
  state.openGate = null;
  state.pause = null;
  state.ending = { result: "denied", reason: `${by} rejected gate ${event.gate}: ${reason}`, at };
}

export function foldApprovalLapsed(state: RunState, event: EventOf<"approval-lapsed">): void {
  const decisions = state.openGate?.decisions ?? [];
  const index = decisions.findIndex((decision) => decision.by === event.of && isApproval(decision));
  const lapsed = decisions[index];
  if (lapsed !== undefined) decisions[index] = { ...lapsed, lapsedAt: event.at };
}

export function foldApprovalRenewed(state: RunState, event: EventOf<"approval-renewed">): void {
  const { gate, by, reason, at, signed } = event;
  state.gates.get(gate)?.decisions.push({ decision: "renew", by, reason, at, signed });
}

export function foldGatePassed(state: RunState, event: EventOf<"gate-passed">): void {
  if (state.openGate !== null) state.openGate.passed = event.how;
  state.openGate = null;
}

export function foldGateExpired(state: RunState, event: EventOf<"gate-expired">): void {
  if (state.openGate !== null) state.openGate.expired = event.action;
  if (event.action === "hold" || event.action === "proceed") return;
  state.openGate = null;
  state.ending = {
    result: event.action === "deny" ? "denied" : "rolled-back",
    reason: `nobody answered gate ${event.gate} in time`,
    at: event.at,
  };
}

export function foldFailureOpened(state: RunState, event: EventOf<"failure-opened">): void {
  const stage = currentStage(state);
  stage.failureGates += 1;
  const record: FailureRecord = {
    id: event.gate,
    stage: event.stage,
    cause: event.cause,
    openedAt: event.at,
    evidence: event.evidence,
    leftBehind: stage.status === "pending" ? leftBehind(state) : [],
    decision: null,
  };
  state.failureGates.set(event.gate, record);
  state.openFailure = record;
}

export function foldFailureDecided(state: RunState, event: EventOf<"failure-decided">): void {
  const { decision, by, reason, at } = event;
  const hosts = event.hosts.length > 0 ? event.hosts : failedHosts(state);
  if (state.openFailure !== null) state.openFailure.decision = { decision, by, reason, at };
  state.openFailure = null;
  if (decision === "abort" || decision === "rollback") {
    state.pause = null;
    state.ending = { result: decision === "abort" ? "aborted" : "rolled-back", reason: `${by}: ${reason}`, at };
    return;
  }
  for (const host of hosts) {
    if (decision === "skip") {
      setAside(state, { type: "host-quarantined", host, by, reason: `skipped at ${event.gate}: ${reason}`, at });
    } else {
      const { record, batch, work } = atWork(state, host);
      forgive(state, record, batch, work, at);
    }
  }
}
