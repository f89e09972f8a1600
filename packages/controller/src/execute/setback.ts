import { errorInfo, type Outcome } from "@belay/shared";
import type { RunEvent } from "../run/event.js";
import type { Flight } from "../run/state.js";
import type { Wait } from "../run/wait.js";

/** What a host that lost its journal leaves of a step it had been sent (I7). */
export function lostWithJournal(step: Flight, at: number): RunEvent {
  const outcome: Outcome = {
    status: "unknown",
    error: {
      code: "journal-lost",
      message: `${step.host} came back without its journal: what it did of this step is not known`,
      hint: "Look at the host, then retry or skip it.",
    },
  };
  return { type: "step-ended", at, step: step.step, outcome };
}

/** Why a run waits while its events can't be recorded. */
export function storeWait(error: unknown, now: number): Wait {
  return {
    code: "store-failing",
    message: `the database does not take events: ${errorInfo(error).message}`,
    since: now,
    unblock: "Make room or mend the disk under belayd's dataDir; it tries again by itself.",
  };
}

/** Why a run does nothing after a defect of belayd itself. */
export function brokenWait(error: unknown, now: number): Wait {
  return {
    code: "run-broken",
    message: `belayd met a defect of its own in this run: ${errorInfo(error).message}`,
    since: now,
    unblock: "Nothing is lost. Restart belayd to take the run up again, and report the defect with belayd's log.",
  };
}
