import type { AuditEntry } from "../../audit/entry.js";
import { dateTime } from "./measure.js";
import type { Style } from "./style.js";
import { listing } from "./text.js";

type Detail = AuditEntry["about"];

export function auditListing(entries: readonly AuditEntry[], style: Style): string[] {
  return listing(
    ["ENTRY", "WHEN", "WHO", "ACTION", "", "ABOUT"],
    entries.map((entry) => [
      String(entry.seq),
      dateTime(entry.at),
      entry.who.name,
      entry.action,
      phaseOf(entry, style),
      summaryOf(entry.about),
    ]),
    "no entry fits",
  );
}

export function auditEntryText(entry: AuditEntry, style: Style): string[] {
  const { seq, at, who, from, action, phase, of, about, before, after, error } = entry;
  const known = of === undefined ? "" : ` (asked in entry ${of})`;
  return [
    `entry       ${seq}`,
    `when        ${dateTime(at)}`,
    `who         ${who.name} (${who.how})`,
    ...(from === null ? [] : [`from        ${from.address}, at ${from.door}`]),
    `action      ${action}, ${phaseOf(entry, style) || phase}${known}`,
    ...(error === undefined ? [] : [`error       ${error}`]),
    ...membersOf("about", about),
    ...membersOf("before", before),
    ...membersOf("after", after),
  ];
}

function phaseOf({ phase, error }: AuditEntry, style: Style): string {
  return phase === "refused" ? style.bad(`refused${error === undefined ? "" : `: ${error}`}`) : phase;
}

function membersOf(name: string, detail: Detail | undefined): string[] {
  return Object.entries(detail ?? {}).map(
    ([member, value], index) => `${(index === 0 ? name : "").padEnd(12)}${member} ${textOf(value)}`,
  );
}

function summaryOf(about: Detail): string {
  return Object.entries(about)
    .map(([member, value]) => `${member}=${textOf(value)}`)
    .join(" ")
    .slice(0, 120);
}

function textOf(value: Detail[string] | undefined): string {
  return Array.isArray(value) ? value.join(",") : String(value);
}
