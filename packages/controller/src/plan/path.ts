import { compareVersions, majorOf } from "@belay/shared";
import type { Mover } from "./survey.js";

/** One permitted version step of the whole fleet, before it is laid out in stages. */
export interface Leg {
  readonly id: string;
  /** The lowest version that moves. */
  readonly from: string;
  readonly to: string;
  readonly major: number;
  readonly last: boolean;
  /** Who moves, each with the version it has when the leg starts. */
  readonly moves: readonly Move[];
}

export interface Move {
  readonly mover: Mover;
  readonly from: string;
  /** True when this move takes the host to another major. */
  readonly crosses: boolean;
}

/**
 * The legs through `stops` (ascending, the target last), lowest major first: every host of the major below takes the
 * step together, so stragglers are level before anything above them moves on (I3). The last leg takes everybody to the
 * target, those inside its major too.
 */
export function layPath(movers: readonly Mover[], stops: readonly string[]): Leg[] {
  const at = new Map(movers.map((mover) => [mover, mover.version]));
  const legs: Leg[] = [];
  stops.forEach((to, index) => {
    const [major, last] = [majorOf(to), index === stops.length - 1];
    const moves = movers.flatMap((mover): Move[] => {
      const from = at.get(mover) ?? mover.version;
      const crosses = majorOf(from) < major;
      return crosses || last ? [{ mover, from, crosses }] : [];
    });
    for (const { mover } of moves) at.set(mover, to);
    const from = moves.reduce((low, move) => (compareVersions(move.from, low) < 0 ? move.from : low), to);
    if (moves.length > 0) legs.push({ id: `hop-${legs.length + 1}`, from, to, major, last, moves });
  });
  return legs;
}
