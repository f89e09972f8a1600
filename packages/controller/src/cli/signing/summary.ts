import { canonicalJson, type GateStatement } from "@belay/shared";
import { summarizeGates } from "../../plan/gates.js";
import type { Plan, Stage } from "../../plan/plan.js";
import { profileOf } from "../../products/profiles.js";
import { labelled } from "../render/label.js";
import { span } from "../render/measure.js";
import type { Style } from "../render/style.js";
import { names, plural, table } from "../render/text.js";

const SHOWN = 10;

/** What a person puts their name to, from the plan's content alone: what goes where, which bytes, and what this gate lets happen. */
export function signingLines(plan: Plan, statement: GateStatement, now: number, style: Style): string[] {
  const { gate, run, expires, leaves, root } = statement;
  const isFinal = stagesOf(plan).some((stage) => stage.gate?.id === gate && stage.gate.pointOfNoReturn);
  return [
    style.strong(`You are about to sign gate ${gate} of run ${run}`),
    ...(isFinal
      ? labelled("", [style.warn("POINT OF NO RETURN: from behind this gate, going back needs a restore.")])
      : []),
    ...labelled("fleet", [`${plan.fleet} (${plan.environment}), ${plan.product}, ${plan.kind}`]),
    ...labelled(
      "hops",
      plan.hops.map(({ id, from, to, targets }) => `${id}: ${from} -> ${to}${otherTargets(targets)}`),
    ),
    ...labelled("hosts", hostLines(plan)),
    ...labelled("artifacts", artifactLines(plan)),
    ...labelled("lets happen", behind(plan, gate)),
    ...labelled("backups", [backupLine(plan)]),
    ...labelled("settings", settingLines(plan, style)),
    ...labelled("plan", [plan.id]),
    ...labelled("root", [`${root} over ${plural(leaves, "step")}, found here from the plan's content`]),
    ...labelled("gates", [gatesLine(plan)]),
    ...labelled("counts for", [`${span(expires - now)}, for this run alone`]),
  ];
}

function otherTargets(targets: Readonly<Record<string, string>> = {}): string {
  const others = Object.entries(targets).map(([host, version]) => `${host} to ${version}`);
  return others.length === 0 ? "" : `; ${listed(others)}`;
}

/** Whoever can read a copy has all that the backup holds. */
function backupLine({ backups }: Plan): string {
  if (backups === undefined) return "stay on their hosts";
  const { keep, copy } = backups;
  const kept = `${keep} of each host are kept`;
  if (copy === null) return `${kept}, on their hosts`;
  const whom = copy.recipients.length === 0 ? "NOT encrypted" : `encrypted to ${copy.recipients.join(", ")}`;
  return `${kept}, with a copy at ${copy.to}, ${whom}`;
}

function hostLines({ hosts }: Plan): string[] {
  const byCluster = new Map<string, string[]>();
  for (const [name, { cluster }] of Object.entries(hosts)) {
    byCluster.set(cluster, [...(byCluster.get(cluster) ?? []), name]);
  }
  return [...byCluster].map(([cluster, all]) => `${cluster}: ${plural(all.length, "host")}: ${listed(all)}`);
}

function artifactLines({ releases }: Plan): string[] {
  const rows = Object.entries(releases).flatMap(([version, artifacts]) =>
    artifacts.map(({ file, sha256 }) => [version, sha256, file]),
  );
  return rows.length === 0 ? ["none: what is on the hosts already"] : table(rows);
}

/** The stages from the gate up to the next one. */
function behind(plan: Plan, gate: string): string[] {
  const stages = stagesOf(plan);
  const from = stages.findIndex((stage) => stage.gate?.id === gate);
  const next = stages.findIndex((stage, index) => index > from && stage.gate !== null);
  const rows = stages.slice(from, next === -1 ? undefined : next).map((stage) => {
    const restores = Object.entries(stage.restores ?? {}).map(([host, backup]) => `${host} puts ${backup} back`);
    const stops = stage.stop.length === 0 ? [] : [`stops ${listed(stage.stop)}`];
    return [stage.id, stage.program, [...stops, listed(stage.batches.flat()), ...restores].join("; ")];
  });
  return table(rows);
}

/** What a host is asked for comes from programs and variables: those that are not Belay's own stand here. */
function settingLines(plan: Plan, style: Style): string[] {
  const profile = profileOf(plan.product);
  const strange = Object.entries(plan.programs)
    .filter(([name, ops]) => canonicalJson(ops) !== canonicalJson(profile.programs[name] ?? null))
    .map(([name]) => name);
  const own = (vars: Readonly<Record<string, string>>) =>
    Object.entries(vars)
      .filter(([name, value]) => name !== "unpackedPerPacked" && profile.vars[name] !== value)
      .map(([name, value]) => `${name}=${value}`);
  const clusters = Object.entries(plan.clusters).flatMap(([name, { vars }]) =>
    own(vars).map((line) => `${name}: ${line}`),
  );
  const hosts = Object.values(plan.hosts).filter(({ vars }) => Object.keys(vars).length > 0).length;
  return [
    strange.length === 0
      ? "the programs are those of this belay"
      : style.warn(`NOT the programs of this belay: ${strange.join(", ")}`),
    ...own(plan.vars),
    ...clusters,
    ...(hosts === 0 ? [] : [`${plural(hosts, "host")} with variables of their own: belay plan show ${plan.id} --json`]),
  ];
}

function gatesLine(plan: Plan): string {
  const { total, pointsOfNoReturn } = summarizeGates(plan);
  return `${plural(total, "gate")} in all, ${plural(pointsOfNoReturn, "point")} of no return`;
}

function listed(all: readonly string[]): string {
  return names(all.slice(0, SHOWN), SHOWN, Math.max(0, all.length - SHOWN));
}

function stagesOf({ hops }: Plan): Stage[] {
  return hops.flatMap(({ stages }) => [...stages]);
}
