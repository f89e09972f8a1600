import { readFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import type { Fleet } from "../../inventory/fleet.js";
import { parseFleet } from "../../inventory/parse.js";
import { parseFacts } from "../../plan/facts.js";
import type { AcceptedRisk, FleetFacts } from "../../plan/input.js";
import { type Finding, lintPlan } from "../../plan/lint.js";
import type { Plan, PlanResult } from "../../plan/plan.js";
import { planUpgrade } from "../../plan/planner.js";
import { refusedFleet } from "../../plan/report.js";
import { profileOf } from "../../products/profiles.js";
import { parseCatalogue } from "../../releases/parse.js";

/*
 * Planning, linting and checking from files, with no belayd: the one place where the CLI uses the pure rooms directly in
 * place of HTTP. It is loaded only when it is asked for, so that every other command starts without it.
 */

const PLAN_HINT = "A plan is what `belay plan --json` or `belay plan show --json` writes.";

export interface OfflineRequest {
  readonly fleet: string;
  readonly facts: string;
  readonly releases: string;
  readonly to: string;
  readonly via: readonly string[];
  readonly acceptRisks: readonly AcceptedRisk[];
  readonly quarantine: readonly string[];
  readonly clusters: readonly string[];
  readonly limit: readonly string[];
  readonly by: string;
}

/**
 * Plans from files. A fleet that contradicts itself in a way that planning has a code for is a blocked plan; a plan that
 * the linter finds fault with is refused, as belayd would.
 */
export async function planFromFiles(request: OfflineRequest): Promise<PlanResult> {
  const [facts, catalogue] = await Promise.all([
    read(request.facts, parseFacts),
    read(request.releases, parseCatalogue),
  ]);
  let fleet: Fleet;
  try {
    fleet = await read(request.fleet, parseFleet);
  } catch (error) {
    const refused = error instanceof BelayError ? refusedFleet(error, request.to) : null;
    if (refused === null) throw error;
    return refused;
  }
  const result = planUpgrade({
    fleet,
    profile: profileOf(fleet.product),
    catalogue,
    facts,
    to: request.to,
    via: request.via,
    acceptRisks: request.acceptRisks,
    quarantine: request.quarantine.map((host) => ({ host, reason: `asked for by ${request.by} with the plan` })),
    clusters: request.clusters,
    limit: request.limit,
  });
  if (result.ok) refuseBroken(result.plan, fleet, facts);
  return result;
}

/** Replays a plan from a file on a model of the fleet. Empty: it breaks no invariant. */
export async function lintFiles(plan: string, fleet: string, facts: string): Promise<readonly Finding[]> {
  const parts = [await read(plan, parsePlan), await read(fleet, parseFleet), await read(facts, parseFacts)] as const;
  try {
    return lintPlan(...parts);
  } catch (cause) {
    // The linter reads plans, not any JSON: what has not even a plan's shape makes it trip.
    if (!(cause instanceof TypeError)) throw cause;
    throw new BelayError("plan-malformed", `${plan} does not hold a whole plan`, { hint: PLAN_HINT, cause });
  }
}

export function checkFleet(file: string): Promise<Fleet> {
  return read(file, parseFleet);
}

function refuseBroken(plan: Plan, fleet: Fleet, facts: FleetFacts): void {
  const findings = lintPlan(plan, fleet, facts);
  if (findings.length === 0) return;
  throw new BelayError("plan-broken", `the linter refuses this plan: ${findings[0]?.message}`, {
    hint: "This is a defect of Belay. Please report it with the three files.",
    context: { findings: findings.slice(0, 20) },
  });
}

async function read<T>(file: string, parse: (text: string, file: string) => T): Promise<T> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BelayError("file-unreadable", `cannot read ${file}: ${(cause as Error).message}`, { cause });
  });
  return parse(text, file);
}

function parsePlan(text: string, file: string): Plan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BelayError("plan-malformed", `${file}: ${(cause as Error).message}`, {
      hint: PLAN_HINT,
      cause,
    });
  }
  const plan = value as Partial<Plan> | null;
  if (typeof plan !== "object" || plan === null || !Array.isArray(plan.hops) || typeof plan.id !== "string") {
    throw new BelayError("plan-malformed", `${file} does not hold a plan`, {
      hint: PLAN_HINT,
    });
  }
  // `belay plan --json` adds what blocks, which is no part of a plan.
  const { blocked: _, ...rest } = plan as Plan & { readonly blocked?: unknown };
  return rest;
}
