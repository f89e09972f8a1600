import { BelayError, type Op, type StepId } from "@belay/shared";
import { opsFor, type PlanIndex, stopOpsFor } from "../plan/program.js";
import { OUTCOME_GRACE_MS } from "../run/pace.js";
import type { Flight, RunState } from "../run/state.js";
import { STOP_BATCH } from "../run/steps.js";
import type { Hosts } from "./ports.js";
import type { Proofs } from "./proofs.js";

/** Sends the steps of one run to their hosts. What a step asks for follows from the plan alone. */
export class Dispatch {
  readonly #run: string;
  readonly #index: PlanIndex;
  readonly #hosts: Hosts;
  readonly #now: () => number;
  readonly #proofs: Proofs | null;
  /** The ops of steps in flight: filled in once, to be sent and to judge the outcome by. */
  readonly #ops = new Map<StepId, Op>();

  constructor(run: string, index: PlanIndex, hosts: Hosts, now: () => number, proofs: Proofs | null) {
    this.#run = run;
    this.#index = index;
    this.#hosts = hosts;
    this.#now = now;
    this.#proofs = proofs;
  }

  /** Hands a step to its host. Safe to repeat: the agent answers an id it has seen from its journal (I7). */
  send(flight: Flight, state: RunState): void {
    // A check passes gates over, and hosts change nothing in one.
    const proof = state.check ? null : (this.#proofs?.of(flight, state) ?? null);
    this.#hosts.send(flight.host, {
      type: "step",
      step: flight.step,
      fence: state.fence,
      check: state.check,
      // The agent stops a little before the controller gives the step up, so that its own word still counts.
      deadlineMs: Math.max(1, flight.deadlineAt - OUTCOME_GRACE_MS - this.#now()),
      op: this.opOf(flight),
      ...(proof === null ? {} : { proof }),
    });
  }

  opOf(flight: Flight): Op {
    const known = this.#ops.get(flight.step);
    if (known !== undefined) return known;
    const where = { run: this.#run, stage: flight.stage, host: flight.host };
    const ops = flight.batch === STOP_BATCH ? stopOpsFor(this.#index, where) : opsFor(this.#index, where);
    const op = ops[flight.index];
    if (op === undefined) throw new BelayError("internal", `the plan has no op for step ${flight.step}`);
    this.#ops.set(flight.step, op);
    return op;
  }

  /** The step has ended: its op is not needed any more. */
  forget(step: StepId): void {
    this.#ops.delete(step);
  }

  hopOf(stage: string): string {
    return this.#index.stages.get(stage)?.hop.id ?? "";
  }
}
