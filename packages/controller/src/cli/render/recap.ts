import type { Recap } from "../../api/contract.js";
import type { Style } from "./style.js";
import { pad, widthOf } from "./text.js";

type Row = Recap["hosts"][number];
const COUNTS = ["ok", "changed", "unreachable", "failed", "skipped"] as const;

/** A line a host, in Ansible's words; after a check, what would be done below it. */
export function recapLines(recap: Recap, style: Style): string[] {
  if (recap.hosts.length === 0) return ["RECAP: no host took part"];
  const widest = Math.max(...recap.hosts.map(({ host }) => widthOf(host)));
  return [style.strong(`RECAP of run ${recap.run}`), ...recap.hosts.flatMap((row) => hostLines(row, widest, style))];
}

function hostLines(row: Row, widest: number, style: Style): string[] {
  const counts = COUNTS.map((word) => tint(word, row[word], style)).join(" ");
  const runs = row.runs === null ? "" : `   runs ${row.runs}`;
  return [
    `${tintHost(row, style)(pad(row.host, widest))} : ${counts}${runs}`,
    ...(row.would ?? []).map((would) => `    would ${would}`),
  ];
}

function tint(word: (typeof COUNTS)[number], count: number, style: Style): string {
  const text = `${word}=${count}`;
  if (count === 0) return text;
  if (word === "failed" || word === "unreachable") return style.bad(text);
  return word === "ok" ? style.good(text) : style.warn(text);
}

function tintHost(row: Row, style: Style): (text: string) => string {
  if (row.failed > 0 || row.unreachable > 0) return style.bad;
  return row.changed > 0 ? style.warn : style.good;
}
