import type { SignedStatement, StepProof } from "@belay/shared";
import { PlanTree } from "../plan/approvals/tree.js";
import type { Plan } from "../plan/plan.js";
import type { Flight, RunState } from "../run/state.js";
import { STOP_BATCH } from "../run/steps.js";
import { byPieces } from "./by-pieces.js";

/** What a step has room for. */
const MAX_APPROVALS = 16;

/** Makes the proofs that steps of one run carry: their leaf, the path to the root, and what was signed at their gate. */
export class Proofs {
  readonly #tree: PlanTree;

  private constructor(tree: PlanTree) {
    this.#tree = tree;
  }

  /** Null for a plan whose approvals are not signed. Others have their turn while a large tree is made. */
  static async make(plan: Plan): Promise<Proofs | null> {
    return plan.approvals === undefined ? null : new Proofs(await byPieces(PlanTree.of(plan)));
  }

  /** What is not in the plan gets none, and no host that asks for one does it. */
  of({ stage, batch, host, index }: Flight, { gates }: RunState): StepProof | null {
    const proof = this.#tree.prove(stage, batch === STOP_BATCH ? "stop" : "batches", host, index);
    if (proof === null) return null;
    const decisions = gates.get(proof.leaf.gate)?.decisions ?? [];
    // Of each key what it signed last, which counts the longest.
    const byKey = new Map<string, SignedStatement>();
    for (const { signed, lapsedAt } of decisions) {
      if (signed === undefined || lapsedAt !== undefined) continue;
      const { key, statement, signature } = signed;
      byKey.delete(key);
      byKey.set(key, { statement, signature });
    }
    return { ...proof, approvals: [...byKey.values()].slice(-MAX_APPROVALS) };
  }
}
