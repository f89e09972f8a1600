import type { Role } from "@belay/shared";
import type { Plan, Stage } from "../plan.js";

/** The kinds of op that a role's program asks for, in order; empty when the plan has no such program. */
export function programNamed({ programs }: Plan, name: string, role: Role): readonly string[] {
  return (programs[`${name}:${role}`] ?? programs[name] ?? []).map((op) => op.kind);
}

/** Ops after which another version runs. */
const MOVES: readonly string[] = ["swap", "upgrade-agent"];

/** I4 is of services: what an agent replaces of itself stays beside the new one, and its journal is not touched. */
export function swapsService(plan: Plan, { program }: Stage, role: Role): boolean {
  return programNamed(plan, program, role).includes("swap");
}

/** Does a role's program put a backup back? */
export function restoresIn(plan: Plan, { program, role }: Stage): boolean {
  return role !== null && programNamed(plan, program, role).includes("restore");
}

/** Starting again what ran before changes no version and is no new decision: it needs no gate of its own. */
export function onlyStarts(plan: Plan, { program, role }: Stage): boolean {
  const kinds = role === null ? [] : programNamed(plan, program, role);
  const changing = [...MOVES, "restore"];
  return plan.kind !== "upgrade" && kinds.length > 0 && !kinds.some((kind) => changing.includes(kind));
}
