import { unknownOutcome } from "@belay/shared";
import { advance } from "./advance.js";
import type { Decision, World } from "./decision.js";
import type { RunEvent } from "./event.js";
import { approvalsOf, brokenGlassOf, failedHosts, hasApprovals, isExpired } from "./guard-gates.js";
import { giveUpAt } from "./pace.js";
import { phaseOf } from "./phase.js";
import type { GateRecord, RunState } from "./state.js";
import * as unblock from "./unblock.js";
import type { Wait } from "./wait.js";
import { inFlightWait, overdueOf, pauseWaits } from "./waits.js";
import { wayOutOf } from "./way-out.js";
import { work } from "./work.js";

/**
 * What may happen next in a run, and when nothing may, why it waits. Pure: reads, changes nothing; `now` is the
 * controller's clock in milliseconds. Each answer is one move: record its events, send the intended steps, and ask
 * again until there are no events. Costs as much as the hosts of the batch that are not at work yet, and the steps in flight.
 */
export function decide(state: RunState, world: World, now: number): Decision {
  if (!world.holdsLease && state.ended === null) return waiting([leaseLost(state)]);
  const lost = giveUpOverdue(state, now);
  if (lost.length > 0) return moving(lost);
  switch (phaseOf(state)) {
    case "ended":
      return waiting([endedWait(state)]);
    case "ending":
      return end(state, now);
    case "pausing":
    case "paused":
      return waiting(pauseWaits(state), nextDeadline(state));
    case "gated":
      return state.openGate === null ? waiting([]) : attendGate(state, state.openGate, now);
    case "failure":
      return waiting([failureWait(state)]);
    case "between":
      return advance(state, world, now);
    case "working":
    case "draining":
      return work(state, world, now, nextDeadline(state));
  }
}

/** Steps whose deadline passed with no outcome: nobody can say how they ended, so nobody counts them as done (I7). */
function giveUpOverdue(state: RunState, now: number): RunEvent[] {
  const events: RunEvent[] = [];
  for (const flight of state.inFlight.values()) {
    if (now < giveUpAt(state, flight)) continue;
    const { step, host, op } = flight;
    const error = {
      code: "agent-lost",
      message: `${host} has not said how ${op} ended, and its time is over`,
      hint: "the outcome counts as unknown until the agent delivers it",
    };
    events.push({ type: "step-ended", at: now, step, outcome: unknownOutcome(error) });
  }
  return events;
}

function nextDeadline(state: RunState): number | null {
  let earliest: number | null = null;
  for (const flight of state.inFlight.values()) {
    const at = giveUpAt(state, flight);
    if (earliest === null || at < earliest) earliest = at;
  }
  return earliest;
}

function end(state: RunState, now: number): Decision {
  const { ending } = state;
  if (ending === null) return waiting([]);
  if (state.inFlight.size === 0) {
    return moving([{ type: "run-ended", at: now, result: ending.result, reason: ending.reason }]);
  }
  const aborting: Wait = {
    code: "aborting",
    message: `ending as ${ending.result} (${ending.reason}) once ${state.inFlight.size} steps in flight have ended`,
    since: ending.at,
    unblock: unblock.watch(state.run),
  };
  return waiting([aborting, inFlightWait(state)], nextDeadline(state));
}

function attendGate(state: RunState, record: GateRecord, now: number): Decision {
  const gate = record.gate.id;
  if (hasApprovals(record)) return moving([{ type: "gate-passed", at: now, gate, how: "approvals" }]);
  if (brokenGlassOf(record) !== null) return moving([{ type: "gate-passed", at: now, gate, how: "break-glass" }]);
  if (record.expired === "proceed") return moving([{ type: "gate-passed", at: now, gate, how: "timeout" }]);
  if (record.expired === null && now >= record.expiresAt) {
    return moving([{ type: "gate-expired", at: now, gate, action: record.gate.onTimeout }]);
  }
  const { approvals, group, onTimeout } = record.gate;
  const given = approvalsOf(record);
  const people = `${given} of ${approvals} approvals${group === null ? "" : ` from ${group}`}`;
  const deadline = overdueOf(record, now)
    ? "overdue since"
    : isExpired(record, record.expiresAt)
      ? `${onTimeout} at`
      : "due by";
  const wait: Wait = {
    code: "gate-open",
    message: `gate ${gate} has ${people}; ${deadline} ${new Date(record.expiresAt).toISOString()}`,
    since: record.openedAt,
    unblock: unblock.approve(state.run, gate, state.plan.approvals !== undefined),
    gate,
    until: record.expiresAt,
  };
  return waiting([wait], record.expired === null ? record.expiresAt : null);
}

function failureWait(state: RunState): Wait {
  const failure = state.openFailure;
  if (failure === null) throw new TypeError("the failure phase has an open failure gate");
  const waysOut = failedHosts(state).flatMap((host) => wayOutOf(state, host) ?? []);
  return {
    code: "failure-gate-open",
    message: `${failure.stage} stopped: ${failure.cause.message}`,
    since: failure.openedAt,
    unblock: [unblock.answerFailure(state.run), ...waysOut].join("; "),
    gate: failure.id,
  };
}

function leaseLost(state: RunState): Wait {
  return {
    code: "lease-lost",
    message: `another controller leads run ${state.run} now; this one may not act (I13)`,
    since: state.lastAt,
    unblock: "nothing to do here: ask the belayd that holds the lease",
  };
}

function endedWait(state: RunState): Wait {
  const ended = state.ended;
  if (ended === null) throw new TypeError("the ended phase has an end");
  return {
    code: "ended",
    message: `ended ${ended.result}: ${ended.reason}`,
    since: ended.at,
    unblock: unblock.show(state.run),
  };
}

function moving(events: readonly RunEvent[]): Decision {
  return { events, waits: [], wakeAt: null };
}

function waiting(waits: readonly Wait[], wakeAt: number | null = null): Decision {
  return { events: [], waits, wakeAt };
}
