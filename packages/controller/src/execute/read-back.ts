import { BelayError } from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import { fold } from "../run/fold.js";
import type { RunState } from "../run/state.js";
import type { RunLog } from "./ports.js";

const EVENTS_PER_READ = 5_000;

/** A run's state folded from its log, and the number of its last event. Throws `run-empty`. */
export async function readBack(
  log: Pick<RunLog, "read">,
  run: string,
  plan: Plan,
): Promise<{ state: RunState; seq: number }> {
  let state: RunState | null = null;
  let seq = 0;
  for (;;) {
    const page = await log.read(run, seq, EVENTS_PER_READ);
    for (const logged of page) {
      state = fold(state, logged.event, plan);
      seq = logged.seq;
    }
    if (page.length < EVENTS_PER_READ) break;
  }
  if (state === null) throw new BelayError("run-empty", `run ${run} has no events`);
  return { state, seq };
}
