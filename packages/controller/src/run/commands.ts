import { BelayError, type HostName } from "@belay/shared";
import type { RunEvent, SignedApproval } from "./event.js";
import { isApproval } from "./guard-gates.js";
import { BELAYD } from "./order.js";
import type { RunState } from "./state.js";
import { legal } from "./transitions.js";

/**
 * What people may do to a run. Each answers with the events to record, in this order, or throws the BelayError that says
 * why not; the state is only read. `at` is the controller's clock, milliseconds since the epoch.
 */

/** Who asks, and why. */
export interface Asking {
  readonly by: string;
  readonly reason: string;
}

/**
 * `groups`: all that the person belongs to, since a gate may ask for one of them. `standing`: may somebody who approved
 * the gate earlier (its group is null, or one) still do so?
 */
export interface Answering extends Asking {
  readonly groups: readonly string[];
  readonly standing?: Standing;
  /** Who made their token for them, and so may have answered in their name; absent: nobody else. */
  readonly tokenBy?: string;
  readonly signed?: SignedApproval;
}

export type Standing = (person: string, group: string | null) => boolean;

/** `hosts`: which of the failed ones; none named: all of them. */
export interface Choosing extends Asking {
  readonly hosts: readonly HostName[];
}

/**
 * Earlier approvals are looked at again first: with this one the gate may pass, and by then all of them must hold (I6). Of a gate
 * that is passed, a signature is renewed.
 */
export function approve(
  state: RunState,
  gate: string,
  { by, reason, groups, standing = () => true, signed, tokenBy }: Answering,
  at: number,
): RunEvent[] {
  if (signed !== undefined && state.gates.get(gate)?.passed) {
    return offer(state, { type: "approval-renewed", at, gate, by, groups, reason, signed });
  }
  const event = { type: "gate-decided", at, gate, decision: "approve", by, groups, reason } as const;
  const whole = {
    ...event,
    ...(tokenBy === undefined ? {} : { tokenBy }),
    ...(signed === undefined ? {} : { signed }),
  };
  return [...lapse(state, standing, at), ...offer(state, whole)];
}

/** Takes the approvals of the open gate out of the count whose givers may not give them any more. None: no events. */
export function lapse({ openGate }: RunState, standing: Standing, at: number): RunEvent[] {
  if (openGate === null) return [];
  const { gate, decisions } = openGate;
  return decisions
    .filter((decision) => isApproval(decision) && !standing(decision.by, gate.group))
    .map(({ by }) => ({ type: "approval-lapsed", at, gate: gate.id, of: by }));
}

/** Lets a gate pass alone, for a reason. That only admins may is for whoever takes the command to see to. */
export function breakGlass(state: RunState, gate: string, { by, reason }: Asking, at: number): RunEvent[] {
  return offer(state, { type: "gate-decided", at, gate, decision: "break-glass", by, groups: [], reason });
}

/** Ends the run as denied: nothing that lies behind the gate will happen. */
export function reject(state: RunState, gate: string, { by, reason, groups }: Answering, at: number): RunEvent[] {
  return offer(state, { type: "gate-decided", at, gate, decision: "reject", by, groups, reason });
}

export function pause(state: RunState, { by, reason }: Asking, at: number): RunEvent[] {
  return offer(state, { type: "pause-asked", at, by, reason });
}

export function resume(state: RunState, { by }: Pick<Asking, "by">, at: number): RunEvent[] {
  return offer(state, { type: "resumed", at, by });
}

/** At an open failure gate, that gate's answer; at any other time a plain request to stop. */
export function abort(state: RunState, asking: Asking, at: number): RunEvent[] {
  if (state.openFailure !== null) return answerFailure(state, "abort", { ...asking, hosts: [] }, at);
  const { by, reason } = asking;
  return offer(state, { type: "abort-asked", at, by, reason });
}

/** Tries the failed ops of these hosts again. Their failures no longer count against the budgets. */
export function retry(state: RunState, choosing: Choosing, at: number): RunEvent[] {
  return answerFailure(state, "retry", choosing, at);
}

/** Leaves these failed hosts aside, in the name of whoever asks. */
export function skip(state: RunState, choosing: Choosing, at: number): RunEvent[] {
  return answerFailure(state, "skip", choosing, at);
}

/**
 * Ends the run as rolled back, so that the rollback's own plan and run can follow. Of a run that has ended there is
 * nothing to record: no events, and the rollback may be planned at once.
 */
export function rollback(state: RunState, asking: Asking, at: number): RunEvent[] {
  if (state.ended !== null) return [];
  if (state.openFailure !== null) return answerFailure(state, "rollback", { ...asking, hosts: [] }, at);
  const { by, reason } = asking;
  return offer(state, { type: "abort-asked", at, by, reason, rollback: true });
}

export function quarantine(state: RunState, host: HostName, { by, reason }: Asking, at: number): RunEvent[] {
  return offer(state, { type: "host-quarantined", at, host, by, reason });
}

export function release(state: RunState, host: HostName, { by, reason }: Asking, at: number): RunEvent[] {
  return offer(state, { type: "host-released", at, host, by, reason });
}

function answerFailure(
  state: RunState,
  decision: "retry" | "skip" | "rollback" | "abort",
  { by, reason, hosts }: Choosing,
  at: number,
): RunEvent[] {
  const gate = state.openFailure?.id;
  if (gate === undefined && state.ended === null) {
    throw new BelayError(
      "no-failure-gate",
      `run ${state.run} has no open failure gate, so there is nothing to ${decision}`,
      { hint: `belay why ${state.run} says what it waits for` },
    );
  }
  return offer(state, { type: "failure-decided", at, gate: gate ?? "", decision, hosts, by, reason });
}

function offer(state: RunState, event: RunEvent & { readonly by: string }): RunEvent[] {
  if (event.by === BELAYD) {
    throw new BelayError("name-reserved", `${BELAYD} is the name under which Belay itself acts; people have their own`);
  }
  const illegal = legal(state, event);
  if (illegal !== null) throw illegal;
  return [event];
}
