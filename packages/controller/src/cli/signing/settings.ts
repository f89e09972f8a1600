import { canonicalJson } from "@belay/shared";
import type { Vars } from "../../inventory/fleet.js";
import type { Plan } from "../../plan/plan.js";
import { programsOf } from "../../plan/planner.js";
import { profileOf } from "../../products/profiles.js";
import type { List } from "./hosts.js";

/** What a host is asked for comes from programs and variables: those that are not this Belay's own stand here. */
export interface SettingLine {
  readonly text: string;
  readonly isStrange: boolean;
}

/** Throws `product-unknown`. */
export function settingLines(plan: Plan, list: List): SettingLine[] {
  const profile = profileOf(plan.product);
  const known: Vars = { unpackedPerPacked: `${profile.unpackedPerPacked}`, ...profile.vars };
  const missing = Object.keys(known).filter((name) => !Object.hasOwn(plan.vars, name));
  return [
    ...programLines(plan, programsOf(profile.programs, plan.hops)),
    ...ownLines(plan.vars, known).map((text) => ({ text, isStrange: false })),
    ...missing.map((name) => ({ text: `NOT SET: ${name}, which is ${known[name]} in this belay`, isStrange: true })),
    ...Object.entries(plan.clusters).flatMap(([cluster, { vars }]) =>
      ownLines(vars, {}).map((line) => ({ text: `${cluster}: ${line}`, isStrange: false })),
    ),
    ...hostLines(plan, list).map((text) => ({ text, isStrange: false })),
  ];
}

/** Both ways: a program of a role that is left out leaves its hosts with the general one. */
function programLines({ programs }: Plan, own: Plan["programs"]): SettingLine[] {
  const strange = Object.keys(programs).filter(
    (name) => canonicalJson(programs[name]) !== canonicalJson(own[name] ?? null),
  );
  const dropped = Object.keys(own).filter((name) => !Object.hasOwn(programs, name));
  if (strange.length === 0 && dropped.length === 0) {
    return [{ text: "the programs are those of this belay", isStrange: false }];
  }
  return [
    ...(strange.length === 0 ? [] : [`NOT the programs of this belay: ${strange.join(", ")}`]),
    ...(dropped.length === 0 ? [] : [`LEFT OUT of the programs of this belay: ${dropped.join(", ")}`]),
  ].map((text) => ({ text, isStrange: true }));
}

function ownLines(vars: Vars, known: Vars): string[] {
  return Object.entries(vars)
    .filter(([name, value]) => known[name] !== value)
    .map(([name, value]) => `${name}=${value}`);
}

/** Variables of hosts win over all others: each value once, with the hosts that have it. */
function hostLines({ hosts }: Plan, list: List): string[] {
  const having = new Map<string, string[]>();
  for (const [host, { vars }] of Object.entries(hosts)) {
    for (const line of ownLines(vars, {})) {
      const all = having.get(line);
      if (all === undefined) having.set(line, [host]);
      else all.push(host);
    }
  }
  return [...having].map(([line, all]) => `${line} on ${list(all)}`);
}
