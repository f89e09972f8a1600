import type { BrokenGlass } from "./evidence.js";
import { brokenGlassOf } from "./guard-gates.js";
import type { RunState } from "./state.js";

/** Every gate of this run that somebody let pass alone, in order. Costs as much as the gates that were opened. */
export function brokenGlassIn(state: RunState): BrokenGlass[] {
  return [...state.gates.values()].flatMap((record) => {
    const broken = brokenGlassOf(record);
    if (broken === null) return [];
    const { by, reason, at } = broken;
    return [{ gate: record.gate.id, by, reason, at }];
  });
}
