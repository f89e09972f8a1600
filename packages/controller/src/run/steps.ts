import type { HostName, OpKind, StepId } from "@belay/shared";
import type { Plan, Stage } from "../plan/plan.js";

/** Index of the stop list, where batches count from 0. */
export const STOP_BATCH = -1;

/**
 * The kinds of op that a host carries out in a stage, in order: `program:role` if the plan has it, else `program`; for
 * the stop list, `stop`. Null when the plan has neither.
 */
export function programOf(plan: Plan, stage: Stage, host: HostName, batch: number): readonly OpKind[] | null {
  const name = batch === STOP_BATCH ? "stop" : stage.program;
  const templates = plan.programs[`${name}:${plan.hosts[host]?.role}`] ?? plan.programs[name];
  return templates?.map((template) => template.kind as OpKind) ?? null;
}

/** The hosts of a batch as planned. */
export function hostsOf(stage: Stage, batch: number): readonly HostName[] {
  return batch === STOP_BATCH ? stage.stop : (stage.batches[batch] ?? []);
}

/**
 * The durable name of a step. It holds all that tells one step from another, so it is never given twice in a run (I7):
 * a host may be stopped and upgraded in one stage, hence `stop-<index>`.
 */
export function stepId(
  run: string,
  stage: string,
  host: HostName,
  batch: number,
  index: number,
  attempt: number,
): StepId {
  return `${run}/${stage}/${host}/${batch === STOP_BATCH ? `stop-${index}` : index}/${attempt}`;
}
