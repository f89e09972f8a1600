import type { ClusterName } from "@belay/shared";
import { type GateSummary, summarizeGates } from "./gates.js";
import type { Finding } from "./lint.js";
import type { Hop, Plan, PlanResult, Risk, Stage } from "./plan.js";

/** How many characters of a plan's id people see and type. */
export const SHORT_ID = 12;
const INDENT = "  ";

/** A plan as people read it in a terminal: what goes where, in which order, behind how many gates. Ends with a newline. */
export function renderPlan(plan: Plan): string {
  const lines = plan.hops.length === 0 ? [`Nothing to do: all of ${plan.fleet} is at ${plan.to}`] : renderHops(plan);
  return `${[...lines, ...renderAside(plan), ...renderRisks(plan.risks), ...renderId(plan)].join("\n")}\n`;
}

/** Why there is no plan: every reason, with what to do about it. Ends with a newline. */
export function renderBlocked(result: Extract<PlanResult, { ok: false }>): string {
  const count = result.blocked.length;
  const lines = [`No plan to ${result.to}: ${plural(count, "reason")}`];
  for (const { code, subject, message, hint } of result.blocked) {
    lines.push(`${INDENT}${code}  ${message}${message.includes(subject) ? "" : ` (${subject})`}`);
    if (hint !== undefined) lines.push(`${INDENT}${INDENT}-> ${hint}`);
  }
  return `${[...lines, ...renderRisks(result.risks)].join("\n")}\n`;
}

/** What a linter found, a line each; one line when it found nothing. Ends with a newline. */
export function renderFindings(findings: readonly Finding[]): string {
  if (findings.length === 0) return "No invariant is broken.\n";
  return `${findings.map(({ invariant, where, message }) => `${invariant}  ${where}  ${message}`).join("\n")}\n`;
}

function renderHops(plan: Plan): string[] {
  const clusters = new Set(plan.hops.flatMap((hop) => hop.stages.map((stage) => stage.cluster)));
  const sizes = [
    plural(plan.hops.length, "hop"),
    plural(clusters.size, "cluster"),
    plural(Object.keys(plan.hosts).length, "host"),
  ];
  const from = plan.hops[0]?.from ?? plan.to;
  const back = plan.kind === "upgrade" ? "" : ` (${plan.kind})`;
  const width = Math.max(...plan.hops.map((hop) => `${hop.from} -> ${hop.to}`.length));
  return [
    `${capitalize(plan.product)} ${from} -> ${plan.to}${back}: ${sizes.join(", ")}`,
    ...renderRestore(plan),
    ...plan.hops.flatMap((hop, index) => renderHop(plan, hop, index + 1, width)),
    renderGates(summarizeGates(plan)),
  ];
}

function renderRestore({ restore, undoes }: Plan): string[] {
  if (undoes?.safetyBackup === false) return [`${INDENT}loses      what auth has now: it is NOT kept aside`];
  if (restore === undefined) return [];
  const { host, backup, takenAt, safetyBackup } = restore;
  const aside = safetyBackup ? "what is there now is kept aside first" : "what is there now is NOT kept aside";
  return [
    `${INDENT}puts back  ${backup} of ${host}`,
    `${INDENT}loses      everything since ${new Date(takenAt).toISOString()}; ${aside}`,
  ];
}

/** Clusters that go through the same stages share a line: `root: ...   then eu, us`. */
function renderHop(plan: Plan, hop: Hop, number: number, width: number): string[] {
  const byCluster = new Map<ClusterName, Stage[]>();
  for (const stage of hop.stages) byCluster.set(stage.cluster, [...(byCluster.get(stage.cluster) ?? []), stage]);
  const groups: { story: string; clusters: ClusterName[] }[] = [];
  for (const [cluster, stages] of byCluster) {
    const story = renderStages(plan, stages);
    const last = groups.at(-1);
    if (last?.story === story) last.clusters.push(cluster);
    else groups.push({ story, clusters: [cluster] });
  }
  const head = `${INDENT}hop ${number}  ${`${hop.from} -> ${hop.to}`.padEnd(width)}  `;
  return groups.map(({ story, clusters: [first, ...others] }, index) => {
    const then = others.length === 0 ? "" : `   then ${shorten(others)}`;
    return `${index === 0 ? head : " ".repeat(head.length)}${first}: ${story}${then}`;
  });
}

/** `backup | auth (2, shrink) | proxy (2) | node (20)`: what changes something; looking is understood. */
function renderStages(plan: Plan, stages: readonly Stage[]): string {
  const parts: string[] = [];
  const count = (kind: string) =>
    stages.filter((stage) => stage.kind === kind).reduce((sum, one) => sum + size(one), 0);
  if (count("backup") > 0) parts.push(plan.kind === "upgrade" ? "backup" : "backup read back");
  // A rollback goes the other way round, so the order is the stages' own.
  const kinds = [...new Set(stages.map((stage) => stage.kind))];
  for (const kind of kinds.filter((one) => one === "auth" || one === "proxy" || one === "node")) {
    const ha = kind === "auth" && count(kind) > 1 ? `, ${plan.clusters[stages[0]?.cluster ?? ""]?.ha}` : "";
    const restore = stages.some((stage) => stage.kind === kind && stage.restores !== undefined) ? ", restore" : "";
    parts.push(`${kind} (${count(kind)}${ha}${restore})`);
  }
  return parts.join(" | ");
}

function size(stage: Stage): number {
  return stage.batches.reduce((sum, batch) => sum + batch.length, 0);
}

function renderGates({ total, pointsOfNoReturn, approvals, group }: GateSummary): string {
  const who = group === null ? "" : ` from \`${group}\``;
  const detail =
    pointsOfNoReturn === 0
      ? ""
      : ` (${plural(approvals, "approval")}${who} at each point of no return: ${pointsOfNoReturn})`;
  return `gates ${total}${detail}`;
}

function renderAside(plan: Plan): string[] {
  const lists = [
    ["quarantined", plan.quarantined.map(({ host, reason }) => `${host} (${reason})`)],
    ["ahead, left alone", plan.ahead],
    ["undeclared, never touched", plan.undeclared],
  ] as const;
  const outside =
    plan.outOfScope.length === 0 ? [] : [`outside this plan's scope  ${plural(plan.outOfScope.length, "host")}`];
  return [
    ...lists.flatMap(([title, names]) => (names.length === 0 ? [] : [`${title}  ${shorten(names)}`])),
    ...outside,
  ];
}

function renderRisks(risks: readonly Risk[]): string[] {
  return risks.map(({ code, message, accepted }) => {
    const who = accepted === undefined ? "" : ` [accepted by ${accepted.by}: ${accepted.why}]`;
    return `risk  ${code}: ${message}${who}`;
  });
}

function renderId({ id, hops }: Plan): string[] {
  return hops.length === 0 ? [] : [`plan ${id.slice(0, SHORT_ID)}`];
}

function shorten(names: readonly string[], limit = 8): string {
  const shown = names.slice(0, limit).join(", ");
  return names.length > limit ? `${shown} and ${names.length - limit} more` : shown;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function capitalize(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
