import type { StepId } from "@belay/shared";
import type { RunStatus, RunSummary, RunView, StageView } from "../api/contract.js";
import { brokenGlassIn } from "./broken-glass.js";
import { decide } from "./decide.js";
import type { World } from "./decision.js";
import { expectedEndAt, type Pace } from "./expect.js";
import { openGateViewOf } from "./gate-view.js";
import { phaseOf } from "./phase.js";
import type { RunState, StageRecord } from "./state.js";
import type { Wait } from "./wait.js";

/** How many steps in flight a view names. */
const NAMED_FLIGHTS = 50;

export { gateViewOf, gateViewsOf } from "./gate-view.js";

/** What a view may show besides the run itself. */
export interface Beside {
  /** Why it waits, where that was asked already; else it is asked here. */
  readonly waits?: readonly Wait[];
  /** The pace of earlier runs. */
  readonly pace?: Pace;
  /** The log's last sequence number, where it is not the count of events. */
  readonly lastSeq?: number;
  /** What an agent last said of a step under way. */
  noteOf?(step: StepId): string | null;
}

/** The whole of a run as people watch it. Costs as much as its stages and one decision, not its hosts. */
export function viewOf(state: RunState, world: World, now: number, beside: Beside = {}): RunView {
  const waits = beside.waits ?? decide(state, world, now).waits;
  return {
    ...summaryOf(state, waits),
    stages: state.stages.map((record) => stageView(state, record)),
    inFlight: newestFlights(state, beside),
    inFlightTotal: state.inFlight.size,
    gate: openGateViewOf(state),
    waits,
    failures: [...state.recentFailures],
    quarantined: [...state.setAside].map((host) => ({ host, reason: state.hosts.get(host)?.aside?.reason ?? "" })),
    brokenGlass: brokenGlassIn(state),
    expectedEndAt: expectedEndAt(state, now, beside.pace),
    lastSeq: beside.lastSeq ?? state.seq,
  };
}

/** A run as one line of a list. `waits`: why it waits now, if known. */
export function summaryOf(state: RunState, waits: readonly Wait[] = []): RunSummary {
  return {
    id: state.run,
    plan: state.plan.id,
    kind: state.plan.kind,
    to: state.plan.to,
    check: state.check,
    status: statusOf(state, waits),
    result: state.ended?.result ?? null,
    startedAt: state.startedAt,
    startedBy: state.startedBy,
    endedAt: state.ended?.at ?? null,
  };
}

function statusOf(state: RunState, waits: readonly Wait[]): RunStatus {
  switch (phaseOf(state)) {
    case "ended":
      return "ended";
    case "ending":
      return "aborting";
    case "pausing":
      return "pausing";
    case "paused":
      return "paused";
    case "gated":
    case "failure":
      return "waiting";
    case "between":
    case "working":
    case "draining":
      return waits.length > 0 && waits.every(({ code }) => code === "hosts-offline") ? "waiting" : "running";
  }
}

function stageView(state: RunState, record: StageRecord): StageView {
  const { stage, hop, status, batch, total, ok, failed, skipped, startedAt, endedAt } = record;
  return {
    id: stage.id,
    hop: hop.id,
    cluster: stage.cluster,
    kind: stage.kind,
    role: stage.role,
    status: state.openGate?.stage === stage.id ? "gated" : status,
    batch: (batch ?? -1) + 1,
    batches: stage.batches.length,
    hosts: { total, ok, failed, active: status === "active" ? state.inFlight.size : 0, skipped },
    startedAt,
    endedAt,
  };
}

function newestFlights(state: RunState, beside: Beside): RunView["inFlight"] {
  const flights: RunView["inFlight"][number][] = [];
  for (const { step, host, op, at } of state.inFlight.values()) {
    if (flights.length === NAMED_FLIGHTS) break;
    flights.push({ step, host, op, since: at, note: beside.noteOf?.(step) ?? null });
  }
  return flights;
}
