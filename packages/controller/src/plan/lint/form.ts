import { HOST_NAME, parseVersion } from "@belay/shared";
import type { Hop, Plan, Stage } from "../plan.js";
import type { Findings } from "./finding.js";

/** As in the leaves that are signed (shared/approval.ts): nothing that a screen or JSON would write in more than one way. */
const ID = /^[a-z0-9][a-z0-9._-]{0,199}$/;

/**
 * One name, one thing: two people who read a plan, or a person and a program, must not find two meanings in it. Hops, stages
 * and gates are called by their ids, so none is there twice, no host stands twice in one list, and names hold nothing but the
 * letters that names are made of.
 */
export function checkForm(plan: Plan, findings: Findings): void {
  const hops = new Set<string>();
  const stages = new Set<string>();
  for (const name of Object.keys(plan.hosts)) checkHost("plan", name, findings);
  for (const hop of plan.hops) {
    checkId(hop.id, "hop", hops, findings);
    checkHop(plan, hop, findings);
    for (const stage of hop.stages) {
      checkId(stage.id, "stage", stages, findings);
      checkStage(plan, stage, findings);
    }
  }
}

function checkId(id: string, what: string, known: Set<string>, findings: Findings): void {
  if (!isText(id, ID)) findings.add("shape", shown(id), shown(id), `${shown(id)} can't be the id of a ${what}`);
  if (known.has(id)) findings.add("shape", shown(id), shown(id), `there are two ${what}s of this id`);
  known.add(id);
}

function checkHop(plan: Plan, { id, from, targets = {} }: Hop, findings: Findings): void {
  if (!isText(from, /./) || parseVersion(from) !== from) {
    findings.add("shape", shown(id), shown(from), `${shown(from)} is not a version`);
  }
  for (const name of Object.keys(targets)) checkKnown(plan, id, name, findings);
}

function checkStage(plan: Plan, stage: Stage, findings: Findings): void {
  const { id, gate, stop, batches, restores = {}, copies = {}, stepTimeoutMs } = stage;
  if (gate !== null && gate.id !== id) {
    findings.add("I6", shown(id), shown(gate.id), `its gate is called ${shown(gate.id)}`);
  }
  if (!Number.isSafeInteger(stepTimeoutMs)) findings.add("shape", shown(id), "stepTimeoutMs", "is not a whole number");
  for (const list of [stop, batches.flat()]) {
    const seen = new Set<string>();
    for (const name of list) {
      checkHost(id, name, findings);
      if (seen.has(name)) findings.add("shape", shown(id), shown(name), `${shown(name)} is twice in one stage`);
      seen.add(name);
    }
  }
  for (const name of Object.keys(restores)) checkKnown(plan, id, name, findings);
  for (const name of Object.keys(copies)) {
    checkKnown(plan, id, name, findings);
    if (restores[name] === undefined) {
      findings.add("shape", shown(id), shown(name), `there is a copy for ${shown(name)}, and nothing it puts back`);
    }
  }
}

function checkKnown({ hosts }: Plan, where: string, name: string, findings: Findings): void {
  if (!Object.hasOwn(hosts, name)) {
    findings.add("shape", shown(where), shown(name), `${shown(name)} is not among the plan's hosts`);
  }
}

function checkHost(where: string, name: string, findings: Findings): void {
  if (!isText(name, HOST_NAME)) findings.add("shape", shown(where), shown(name), `${shown(name)} is no host's name`);
}

/** What was read from JSON may be anything. */
function isText(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}

function shown(value: unknown): string {
  return isText(value, ID) ? `${value}` : JSON.stringify(value);
}
