import type { GateStatement } from "@belay/shared";
import { summarizeGates } from "../../plan/gates.js";
import type { Plan, Stage } from "../../plan/plan.js";
import { labelled } from "../render/label.js";
import { span } from "../render/measure.js";
import type { Style } from "../render/style.js";
import { plural, table } from "../render/text.js";
import { artifactLines, undigestedLines } from "./bytes.js";
import { hostLines, hostsBy, type List, listerOf } from "./hosts.js";
import { settingLines } from "./settings.js";

export interface SummaryLook {
  readonly style: Style;
  /** Names every host, however many there are. */
  readonly allHosts: boolean;
}

/** What a person puts their name to, from the plan's content alone: what goes where, which bytes, and what this gate lets happen. */
export function signingLines(
  plan: Plan,
  statement: GateStatement,
  now: number,
  { style, allHosts }: SummaryLook,
): string[] {
  const { gate, run, expires, leaves, root } = statement;
  const list = listerOf(allHosts);
  const isFinal = stagesOf(plan).some((stage) => stage.gate?.id === gate && stage.gate.pointOfNoReturn);
  const warn = (lines: readonly string[]) => lines.map((line) => style.warn(plain(line)));
  return [
    style.strong(`You are about to sign gate ${gate} of run ${run}`),
    ...(isFinal ? labelled("", warn(["POINT OF NO RETURN: from behind this gate, going back needs a restore."])) : []),
    ...labelled("fleet", [plain(`${plan.fleet} (${plan.environment}), ${plan.product}, ${plan.kind}`)]),
    ...labelled("hops", [
      ...plan.hops.map(({ id, from, to }) => `${id}: ${from} -> ${to}`),
      ...warn(targetLines(plan, list)),
    ]),
    ...labelled("hosts", hostLines(plan, list)),
    ...labelled("artifacts", [...artifactLines(plan).map(plain), ...warn(undigestedLines(plan, list))]),
    ...labelled("lets happen", behind(plan, gate, list)),
    ...labelled("restores", warn(restoreLines(plan, gate))),
    ...labelled("backups", [plain(backupLine(plan))]),
    ...labelled(
      "settings",
      settingLines(plan, list).map(({ text, isStrange }) => (isStrange ? style.warn(plain(text)) : plain(text))),
    ),
    ...labelled("backups", [plain(backupLine(plan))]),
    ...labelled("accepted", warn(acceptedLines(plan))),
    ...labelled("plan", [plan.id]),
    ...labelled("root", [`${root} over ${plural(leaves, "step")}, found here from the plan's content`]),
    ...labelled("gates", [gatesLine(plan)]),
    ...labelled("counts for", [`${span(expires - now)}, for this run alone`]),
  ];
}

/** Hosts that go elsewhere than their hop says. */
function targetLines({ hops }: Plan, list: List): string[] {
  return hops.flatMap(({ id, targets = {} }) => {
    const byVersion = hostsBy(Object.keys(targets), (host) => targets[host] ?? "");
    return [...byVersion].map(([version, hosts]) => `${id}: to ${version} instead: ${list(hosts)}`);
  });
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

/** All stages that this gate lets happen. */
function letsHappen(plan: Plan, gate: string): Stage[] {
  let latest: string | null = null;
  return stagesOf(plan).filter((stage) => {
    latest = stage.gate?.id ?? latest;
    return latest === gate;
  });
}

function behind(plan: Plan, gate: string, list: List): string[] {
  const rows = letsHappen(plan, gate).map(({ id, program, stop, batches }) => {
    const stops = stop.length === 0 ? [] : [`stops ${list(stop)}`];
    return [id, plain(program), [...stops, list(batches.flat())].join("; ")];
  });
  return table(rows);
}

/** Each host's backup, and which copy stands in for it: what is put back takes the place of what is there. */
function restoreLines(plan: Plan, gate: string): string[] {
  return letsHappen(plan, gate).flatMap(({ restores = {}, copies = {} }) =>
    Object.entries(restores).map(([host, backup]) => {
      const copy = copies[host];
      const from = copy === undefined ? "" : `, or the copy ${copy.sha256} of ${copy.bytes} bytes`;
      return `${host} puts ${backup} back${from}`;
    }),
  );
}

function acceptedLines({ risks }: Plan): string[] {
  return risks.flatMap(({ code, subject, accepted }) =>
    accepted === undefined ? [] : [`${code} of ${subject}, by ${accepted.by}: ${accepted.why}`],
  );
}

function gatesLine(plan: Plan): string {
  const { total, pointsOfNoReturn } = summarizeGates(plan);
  return `${plural(total, "gate")} in all, ${plural(pointsOfNoReturn, "point")} of no return`;
}

function stagesOf({ hops }: Plan): Stage[] {
  return hops.flatMap(({ stages }) => [...stages]);
}

/** Text of a plan as it stands there: no colour of its own could hide it, no letter be taken for another. */
function plain(text: string): string {
  return text.replace(/[^ -~]/gu, (letter) => `\\u{${(letter.codePointAt(0) ?? 0).toString(16)}}`);
}
