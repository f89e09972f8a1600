import { setImmediate as nextTurn } from "node:timers/promises";
import type { Pieces } from "../plan/pieces.js";

/** Does the work with turns for everybody else in between: agents' pings, people's questions. */
export async function byPieces<T>(pieces: Pieces<T>): Promise<T> {
  for (;;) {
    const step = pieces.next();
    if (step.done === true) return step.value;
    await nextTurn();
  }
}
