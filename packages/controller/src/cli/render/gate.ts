import type { GateView } from "../../api/contract.js";
import type { BrokenGlass, Evidence } from "../../run/evidence.js";
import { approve } from "../../run/unblock.js";
import { labelled, labelledText } from "./label.js";
import { bytes, moment, span } from "./measure.js";
import type { Style } from "./style.js";
import { listing, names, plural, table } from "./text.js";

/** How many hosts, failures and backups a gate names; --json has all that is known. */
const SHOWN = 10;

export interface Page {
  readonly now: number;
  readonly columns: number;
  readonly style: Style;
}

/** A gate as the people who must decide want it: what was done, what comes, what going back takes, how to answer. */
export function gateLines(gate: GateView, page: Page): string[] {
  return [
    `${page.style.strong(`gate ${gate.gate}`)}  of run ${gate.run}, ${statusOf(gate, page.now)}`,
    ...(gate.pointOfNoReturn
      ? labelled("", [page.style.warn("POINT OF NO RETURN: from behind this gate, going back needs a restore.")])
      : []),
    ...untilLines(gate, page),
    ...causeLines(gate, page),
    ...(gate.kind === "failure" ? [] : labelled("approvals", [approvalsOf(gate)])),
    ...decisionLines(gate, page),
    ...(gate.evidence === null ? [] : evidenceLines(gate.evidence, page)),
    ...answerLines(gate),
  ];
}

/** The commands that answer an open gate; none for any other. */
export function answerLines(gate: GateView): string[] {
  if (gate.status !== "open") return [];
  if (gate.kind !== "failure") {
    return [
      ...labelled("approve", [approve(gate.run, gate.gate, gate.mustSign === true)]),
      ...labelled("reject", [`belay gate reject ${gate.run} ${gate.gate} --reason "..."`]),
    ];
  }
  return labelled(
    "answer",
    table([
      [`belay run retry ${gate.run} --reason "..."`, "try the failed hosts again"],
      [`belay run skip ${gate.run} --reason "..."`, "set them aside (quarantine) and go on"],
      [`belay run rollback ${gate.run} --scope stage --reason "..."`, "go back (stage, hop or run)"],
      [`belay run abort ${gate.run} --reason "..."`, "stop here"],
    ]),
  );
}

export function gateListing(gates: readonly GateView[], now: number): string[] {
  return listing(
    ["RUN", "GATE", "KIND", "STATUS", "APPROVALS", "OPEN SINCE"],
    gates.map((gate) => [
      gate.run,
      gate.gate,
      gate.kind,
      gate.overdue ? `${gate.status}, overdue` : gate.status,
      gate.kind === "failure" ? "-" : `${approvalsIn(gate)}/${gate.approvalsNeeded}`,
      gate.openedAt === null ? "-" : `${moment(gate.openedAt, now)} (${span(now - gate.openedAt)})`,
    ]),
    "no gate is open",
  );
}

function statusOf(gate: GateView, now: number): string {
  if (gate.status === "not-open") return "not open yet";
  if (gate.status !== "open" || gate.openedAt === null) return gate.status;
  return `open since ${moment(gate.openedAt, now)} (${span(now - gate.openedAt)})`;
}

const THEN: Readonly<Record<string, string>> = {
  hold: "then it stays open, overdue",
  deny: "then the run is denied",
  proceed: "then it passes by itself",
  rollback: "then the run is rolled back",
};

function untilLines({ status, expiresAt, overdue, onTimeout }: GateView, { now, style }: Page): string[] {
  if (status !== "open" || expiresAt === null) return [];
  if (overdue) return labelled("overdue", [style.warn(`since ${moment(expiresAt, now)}`)]);
  return labelled("until", [
    `${moment(expiresAt, now)} (${span(expiresAt - now)} left), ${THEN[onTimeout] ?? onTimeout}`,
  ]);
}

/** Approvals that count: one of each person, of those who may still give it. */
export function approvalsIn(gate: GateView): number {
  const counting = gate.decisions.filter(({ decision, lapsedAt }) => decision === "approve" && lapsedAt === undefined);
  return new Set(counting.map(({ by }) => by)).size;
}

function approvalsOf(gate: GateView): string {
  const group = gate.group === null ? "" : ` from ${gate.group}`;
  const broken = gate.decisions.some(({ decision }) => decision === "break-glass");
  if (broken) return `${approvalsIn(gate)} of ${gate.approvalsNeeded}${group}; GLASS BROKEN, passed without the others`;
  if (gate.status === "passed" && approvalsIn(gate) < gate.approvalsNeeded) {
    return `${approvalsIn(gate)} of ${gate.approvalsNeeded}${group}; passed because nobody answered in time`;
  }
  const missing = gate.approvalsNeeded - approvalsIn(gate);
  const more = gate.status === "open" && gate.decisions.length > 0 && missing > 0 ? `; ${missing} more needed` : "";
  const notBy = gate.status === "open" && gate.notBy !== null ? `; not from ${gate.notBy}, who started the run` : "";
  return `${approvalsIn(gate)} of ${gate.approvalsNeeded}${group}${more}${notBy}`;
}

function decisionLines(gate: GateView, { now, style }: Page): string[] {
  return labelled(
    "decided",
    gate.decisions.flatMap(({ decision, by, reason, at, lapsedAt, signed, tokenBy }) => {
      const why = reason === "" ? "" : `: ${reason}`;
      const lapsed = lapsedAt === undefined ? "" : ` (counts no more since ${moment(lapsedAt, now)})`;
      const token = tokenBy === undefined ? "" : `, with a token that ${tokenBy} made`;
      const line = `${moment(at, now)} ${decision} by ${by}${token}${why}${lapsed}`;
      const whose = signed?.signer === undefined ? "" : `, ${signed.signer}'s`;
      const key = signed === undefined ? [] : [`  signed by ${signed.key}${whose}`];
      return [decision === "break-glass" ? style.bad(line) : line, ...key];
    }),
  );
}

function causeLines({ cause }: GateView, { columns, style }: Page): string[] {
  if (cause === null) return [];
  return [
    ...labelledText("cause", `${cause.message} (${cause.code})`, columns, style.bad),
    ...(cause.hint === undefined ? [] : labelledText("hint", cause.hint, columns)),
  ];
}

function evidenceLines(evidence: Evidence, page: Page): string[] {
  const { columns, style } = page;
  return [
    ...brokenGlassLines(evidence.brokenGlass ?? [], page),
    ...labelled("done", orNone(doneLines(evidence), "nothing yet")),
    ...labelled("versions", orNone(table(versionRows(evidence)), "nobody reported one")),
    ...labelled("health", healthLines(evidence, style)),
    ...labelled("failures", failureLines(evidence, style)),
    ...labelled("backups", orNone(backupLines(evidence, page), "none in this hop")),
    ...labelled(
      "next",
      orNone(
        table(evidence.next.map(({ stage, hosts, more }) => [stage, names(hosts, SHOWN, more)])),
        "nothing: the run ends",
      ),
    ),
    ...labelledText("going back", evidence.goingBack.takes, columns),
    ...labelledText("and loses", evidence.goingBack.loses, columns),
  ];
}

/** Loud, because whoever decides should know that somebody went past the others before. */
export function brokenGlassLines(broken: readonly BrokenGlass[], { columns, now, style }: Page): string[] {
  return broken.flatMap(({ gate, by, reason, at }) =>
    labelledText("BREAK-GLASS", `at ${gate} by ${by}, ${moment(at, now)}: ${reason}`, columns, style.bad),
  );
}

/** The newest stages; what lies further back was shown at the gates before. */
function doneLines({ done }: Evidence): string[] {
  const before = done.length - SHOWN;
  return [
    ...(before > 0 ? [`${plural(before, "stage")} before these`] : []),
    ...table(done.slice(-SHOWN).map(doneRow)),
  ];
}

function doneRow(row: Evidence["done"][number]): string[] {
  const failed = row.failed === 0 ? "" : `${row.failed} failed`;
  return [row.stage, plural(row.hosts, "host"), span(row.ms), failed];
}

function versionRows({ versions }: Evidence): string[][] {
  return versions.map(({ role, version, hosts }) => [role, version ?? "unknown", plural(hosts, "host")]);
}

function healthLines({ unhealthy }: Evidence, style: Style): string[] {
  if (unhealthy.length === 0) return [style.good("all hosts of the cluster are healthy")];
  const lines = unhealthy.slice(0, SHOWN).map(({ host, ailments }) => style.bad(`${host}: ${ailments.join("; ")}`));
  return [...lines, ...andMore(unhealthy.length)];
}

function failureLines({ failures }: Evidence, style: Style): string[] {
  if (failures.length === 0) return [style.good("none")];
  const lines = failures
    .slice(-SHOWN)
    .map(({ host, stage, error }) => style.bad(`${host} in ${stage}: ${error.message} (${error.code})`));
  return [...lines, ...andMore(failures.length)];
}

function backupLines({ backups }: Evidence, { now, style }: Page): string[] {
  const rows = backups.slice(0, SHOWN).map((backup) => [
    backup.host,
    bytes(backup.bytes),
    backup.verified ? style.good(`verified${hasCopy(backup)}`) : style.bad("NOT VERIFIED"),
    `sha256 ${backup.sha256.slice(0, 12)}`,
    plural(backup.items, "item"),
    moment(backup.takenAt, now),
    // Last, because it is the longest and a narrow window cuts it.
    backup.backup,
  ]);
  return [...table(rows), ...andMore(backups.length)];
}

function hasCopy({ copies = [] }: Evidence["backups"][number]): string {
  return copies.length === 0 ? "" : ", with a copy";
}

function andMore(count: number): string[] {
  return count > SHOWN ? [`and ${count - SHOWN} more`] : [];
}

function orNone(lines: readonly string[], none: string): readonly string[] {
  return lines.length === 0 ? [none] : lines;
}
