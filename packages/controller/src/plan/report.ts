import type { BelayError } from "@belay/shared";
import type { Problem } from "../inventory/document.js";
import { type Plan, type PlanResult, REASON_CODES, type ReasonCode, type Risk } from "./plan.js";

/**
 * The JSON that `belay plan --json` prints: the whole plan with `blocked: []`, or `id: null` with no hops and every
 * reason. The same members either way, so that a program can read it without asking first.
 */
export type PlanJson =
  | (Plan & { readonly blocked: readonly [] })
  | {
      readonly id: null;
      readonly to: string;
      readonly hops: readonly [];
      readonly risks: readonly Risk[];
      readonly blocked: readonly Risk[];
    };

export function planJson(result: PlanResult): PlanJson {
  if (result.ok) return { ...result.plan, blocked: [] };
  return { id: null, to: result.to, hops: [], risks: result.risks, blocked: result.blocked };
}

/** Exit code of `belay plan`: 0 nothing to do, 2 changes, 1 blocked; as Terraform's -detailed-exitcode. */
export function planExitCode(result: PlanResult): 0 | 1 | 2 {
  if (!result.ok) return 1;
  return result.plan.hops.length === 0 ? 0 : 2;
}

/**
 * A fleet file that can't be planned at all as a refused plan, when what is wrong has reason codes (a cycle of trust, a
 * host declared twice ...); null when it is wrong in other ways, which is an error.
 */
export function refusedFleet(error: BelayError, to: string): PlanResult | null {
  const problems = (error.context?.problems ?? []) as readonly Problem[];
  const blocked: Risk[] = [];
  for (const { code, where, field, message, hint } of problems) {
    if (!isReasonCode(code)) return null;
    blocked.push({ code, subject: field, message: `${where}: ${message}`, ...(hint === undefined ? {} : { hint }) });
  }
  return blocked.length === 0 ? null : { ok: false, to, blocked, risks: [] };
}

function isReasonCode(code: string): code is ReasonCode {
  return (REASON_CODES as readonly string[]).includes(code);
}
