import { BelayError, type HostName } from "@belay/shared";
import type { RunEvent } from "./event.js";
import { BELAYD } from "./order.js";
import type { RunState } from "./state.js";
import { legal } from "./transitions.js";

/** What a command comes to: events to record, in this order, or why not. Nothing is changed here. */
export type CommandResult = readonly RunEvent[] | BelayError;

/** Who asks, why, and when (milliseconds since the epoch, the controller's clock). */
export interface Asking {
  readonly by: string;
  readonly reason: string;
  readonly at: number;
}

/** `groups`: all that the person belongs to; a gate may ask for one of them. */
export function approveGate(
  state: RunState,
  gate: string,
  { by, reason, at, groups }: Asking & { readonly groups: readonly string[] },
): CommandResult {
  return offer(state, { type: "gate-decided", at, gate, decision: "approve", by, groups, reason });
}

/** Ends the run as denied: nothing that lies behind the gate will happen. */
export function rejectGate(
  state: RunState,
  gate: string,
  { by, reason, at, groups }: Asking & { readonly groups: readonly string[] },
): CommandResult {
  return offer(state, { type: "gate-decided", at, gate, decision: "reject", by, groups, reason });
}

export function pauseRun(state: RunState, { by, reason, at }: Asking): CommandResult {
  return offer(state, { type: "pause-asked", at, by, reason });
}

export function resumeRun(state: RunState, { by, at }: Pick<Asking, "by" | "at">): CommandResult {
  return offer(state, { type: "resumed", at, by });
}

/** At an open failure gate, that gate's answer; at any other time a plain request to stop. */
export function abortRun(state: RunState, asking: Asking): CommandResult {
  if (state.openFailure !== null) return answer(state, "abort", [], asking);
  const { by, reason, at } = asking;
  return offer(state, { type: "abort-asked", at, by, reason });
}

/** Tries the failed ops of these hosts again (none named: of all that failed). Their failures no longer count. */
export function retryFailed(state: RunState, hosts: readonly HostName[], asking: Asking): CommandResult {
  return answer(state, "retry", hosts, asking);
}

/** Leaves these failed hosts aside (none named: all that failed), in the name of whoever asks. */
export function skipFailed(state: RunState, hosts: readonly HostName[], asking: Asking): CommandResult {
  return answer(state, "skip", hosts, asking);
}

/**
 * Ends the run as rolled back, so that the rollback's own plan and run can follow. Of a run that has ended there is
 * nothing to record: the answer is no events, and the rollback may be planned at once.
 */
export function rollbackRun(state: RunState, asking: Asking): CommandResult {
  if (state.ended !== null) return [];
  if (state.openFailure !== null) return answer(state, "rollback", [], asking);
  const { by, reason, at } = asking;
  return offer(state, { type: "abort-asked", at, by, reason, rollback: true });
}

export function quarantineHost(state: RunState, host: HostName, { by, reason, at }: Asking): CommandResult {
  return offer(state, { type: "host-quarantined", at, host, by, reason });
}

export function releaseHost(state: RunState, host: HostName, { by, reason, at }: Asking): CommandResult {
  return offer(state, { type: "host-released", at, host, by, reason });
}

function answer(
  state: RunState,
  decision: "retry" | "skip" | "rollback" | "abort",
  hosts: readonly HostName[],
  { by, reason, at }: Asking,
): CommandResult {
  const gate = state.openFailure?.id;
  if (gate === undefined && state.ended === null) {
    return new BelayError(
      "no-failure-gate",
      `run ${state.run} has no open failure gate, so there is nothing to ${decision}`,
      {
        hint: `belay why ${state.run} says what it waits for`,
      },
    );
  }
  return offer(state, { type: "failure-decided", at, gate: gate ?? "", decision, hosts, by, reason });
}

function offer(state: RunState, event: RunEvent & { readonly by: string }): CommandResult {
  if (event.by === BELAYD) {
    return new BelayError(
      "name-reserved",
      `${BELAYD} is the name under which Belay itself acts; people have their own`,
    );
  }
  return legal(state, event) ?? [event];
}
