import { BelayError, canonicalJson, digestOf, type GateStatement } from "@belay/shared";
import { rootOf } from "../../plan/approvals/tree.js";
import { factsAsPlanned, fleetAsPlanned } from "../../plan/lint/declared.js";
import { lintPlan } from "../../plan/lint.js";
import type { Plan } from "../../plan/plan.js";

export interface SigningTarget {
  /** The run's whole id. */
  readonly run: string;
  readonly gate: string;
}

/**
 * What is to be signed of a plan that belayd showed. Nothing of it is taken on trust: the id must be the digest of the
 * content, the root that of the steps which the content asks hosts for, and the linter must find nothing in it, all of it
 * here; so nobody can show one plan and have another one signed, or one that can be read in two ways. Throws `plan-unsigned`,
 * `plan-forged`, `plan-broken`, `gate-unknown`.
 */
export function statementOf(plan: Plan, { run, gate }: SigningTarget, at: number, expires: number): GateStatement {
  const { id, ...content } = plan;
  const { approvals } = plan;
  if (approvals === undefined) {
    throw new BelayError("plan-unsigned", "this plan has nothing to sign: its fleet records approvals", {
      hint: "Approve without --sign.",
    });
  }
  if (digestOf(content) !== id) throw forged(`its id should be ${digestOf(content)}`);
  const { root, leaves } = rootOf(plan);
  if (root !== approvals.root || leaves !== approvals.leaves) throw forged(`its root should be ${root}`);
  refuseBroken(plan);
  if (!plan.hops.some(({ stages }) => stages.some((stage) => stage.gate?.id === gate))) {
    throw new BelayError("gate-unknown", `plan ${id} has no gate ${gate}`);
  }
  return {
    type: "belay-gate",
    format: 1,
    fleet: plan.fleet,
    plan: id,
    root,
    leaves,
    run,
    gate,
    decision: "approve",
    at,
    expires,
  };
}

/** belayd's linter has looked at it too, but whoever has belayd has that. What is on the hosts is not known here. */
function refuseBroken(plan: Plan): void {
  let first: string | undefined;
  try {
    first = lintPlan(plan, fleetAsPlanned(plan), factsAsPlanned(plan))[0]?.message;
  } catch (cause) {
    // What has not even a plan's shape makes the linter trip.
    if (!(cause instanceof TypeError)) throw cause;
    first = "it is not made as a plan is";
  }
  if (first === undefined) return;
  throw new BelayError("plan-broken", `the linter refuses this plan: ${first}`, {
    hint: "Sign nothing. belayd refuses such plans itself: somebody has been at its database, or this belay is older.",
  });
}

/** The very bytes that are signed. */
export function textOf(statement: GateStatement): string {
  return canonicalJson(statement);
}

function forged(what: string): BelayError {
  return new BelayError("plan-forged", `belayd shows a plan that is not what it says: ${what}`, {
    hint: "Sign nothing. Is this belay as new as that belayd? If it is, somebody has been at its database.",
  });
}
