import { BelayError, type HostName, minorsApart, mustBeSayable, PROTOCOL } from "@belay/shared";
import type { FleetFacts, PlanInput } from "./input.js";
import type { Plan } from "./plan.js";
import { indexPlan, opsFor } from "./program.js";
import { listNames, type Reasons } from "./reasons.js";
import type { Mover } from "./survey.js";

const MAX_MINORS_APART = 1;

/** May an agent of this version and a belayd of that one work together? */
export function isNear(agent: string, belayd: string): boolean {
  return minorsApart(agent, belayd) <= MAX_MINORS_APART;
}

/**
 * An agent may be one minor version from its belayd, and no further: nobody has tried what lies beyond. Such agents are
 * welcomed all the same, so that they can be seen and upgraded, but what they are to do a person must accept by name. For
 * the agents' own upgrade it is the target that counts.
 */
export function checkSkew(
  { profile, facts, belayd }: PlanInput,
  movers: readonly Mover[],
  to: string,
  reasons: Reasons,
): void {
  if (belayd === undefined) return;
  if (profile.ofAgents) {
    if (movers.length > 0 && !isNear(to, belayd)) {
      reasons.ask({
        code: "agent-skew",
        subject: to,
        message: `agents of ${to} would be more than one minor version from belayd ${belayd}`,
        hint: "Upgrade belayd first, or choose a version nearer to it.",
      });
    }
    return;
  }
  for (const { name } of movers) {
    const version = facts.hosts[name]?.agent?.version ?? null;
    if (version === null || isNear(version, belayd)) continue;
    reasons.ask({
      code: "agent-skew",
      subject: name,
      message: `the agent of ${name} is ${version}, more than one minor version from belayd ${belayd}`,
      hint: `Bring it nearer first: belay agent upgrade --to VERSION --limit ${name}`,
    });
  }
}

const SAMPLE_RUN = "run-0";

/** What a plan asks of a host its agent must have words for: found now, and not in the middle of a run. */
export function checkAgents(plan: Plan, facts: FleetFacts, reasons: Reasons): void {
  const old = new Map<HostName, number>();
  for (const host of Object.keys(plan.hosts)) {
    const protocol = facts.hosts[host]?.agent?.protocol ?? PROTOCOL.newest;
    if (protocol < PROTOCOL.newest) old.set(host, protocol);
  }
  // A program that can't be filled in was reported already.
  if (old.size === 0 || reasons.blocked.length > 0) return;
  for (const [host, kinds] of unsayable(plan, old)) {
    reasons.block({
      code: "agent-too-old",
      subject: host,
      message: `the agent of ${host} is too old for what this plan asks of it: ${listNames([...kinds])}`,
      hint: "Upgrade it first: belay agent upgrade, or its package. Or set the host aside with --quarantine.",
    });
  }
}

/** Kinds of op that an agent of its protocol can't be told, by host. */
function unsayable(plan: Plan, old: ReadonlyMap<HostName, number>): Map<HostName, Set<string>> {
  const index = indexPlan(plan);
  const found = new Map<HostName, Set<string>>();
  for (const stage of plan.hops.flatMap((hop) => hop.stages)) {
    for (const host of stage.batches.flat()) {
      const protocol = old.get(host);
      if (protocol === undefined) continue;
      for (const op of opsFor(index, { run: SAMPLE_RUN, stage: stage.id, host })) {
        try {
          mustBeSayable(op, protocol);
        } catch (error) {
          if (!(error instanceof BelayError)) throw error;
          found.set(host, (found.get(host) ?? new Set()).add(op.kind));
        }
      }
    }
  }
  return found;
}
