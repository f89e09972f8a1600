import type { Decision, World } from "./decision.js";
import type { RunEvent } from "./event.js";
import { gatherEvidence } from "./gather.js";
import { nextFailureGate } from "./guard-gates.js";
import { leftBehind } from "./order.js";
import type { RunState } from "./state.js";

/** Between two stages: the end of the run, the gate before the next stage (I6), or that stage. */
export function advance(state: RunState, world: World, now: number): Decision {
  return { events: [nextEvent(state, world, now)], waits: [], wakeAt: null };
}

function nextEvent(state: RunState, world: World, now: number): RunEvent {
  const next = state.stages[state.current];
  if (next === undefined) return { type: "run-ended", at: now, result: "done", reason: reasonOfDone(state) };
  const behind = leftBehind(state);
  const { id, gate } = next.stage;
  if (behind.length > 0) {
    return {
      type: "failure-opened",
      at: now,
      gate: nextFailureGate(next),
      stage: id,
      cause: {
        code: "left-behind",
        message: `${next.hop.id} would leave ${behind.slice(0, 10).join(", ")} more than one major behind`,
        hint: "skip leaves them behind in your name; or abort, and plan anew when they are in health",
        context: { hosts: behind.slice(0, 100), total: behind.length },
      },
      evidence: gatherEvidence(state, state.plan, { stage: id, pointOfNoReturn: false }, world, now),
    };
  }
  if (gate !== null && !state.check && !state.gates.has(gate.id)) {
    return {
      type: "gate-opened",
      at: now,
      gate: gate.id,
      evidence: gatherEvidence(state, state.plan, { stage: id, pointOfNoReturn: gate.pointOfNoReturn }, world, now),
      expiresAt: now + gate.timeoutMs,
    };
  }
  return { type: "stage-started", at: now, stage: id };
}

function reasonOfDone(state: RunState): string {
  const what = state.check ? "every agent has said what it would do" : "every stage is finished";
  const aside = state.setAside.size;
  return aside === 0 ? what : `${what}; ${aside} ${aside === 1 ? "host was" : "hosts were"} set aside`;
}
