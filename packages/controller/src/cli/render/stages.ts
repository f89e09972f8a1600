import type { StageView } from "../../api/contract.js";
import { span } from "./measure.js";
import { stageLine, stageName } from "./stage.js";
import type { Style } from "./style.js";
import { plural, widthOf } from "./text.js";

export interface StageRows {
  readonly lines: readonly string[];
  /** Index of the line where things happen: the first stage that is not done. */
  readonly focus: number;
}

/** Every stage under its hop, in order. Where there are several hops, one that is over or still to come is one line. */
export function stageRows(
  stages: readonly StageView[],
  page: { readonly now: number; readonly style: Style },
): StageRows {
  const columns = {
    cluster: widest(stages.map(({ cluster }) => cluster)),
    name: widest(stages.map(stageName)),
  };
  const hops = byHop(stages);
  const lines: string[] = [];
  let focus: number | null = null;
  for (const [hop, own] of hops) {
    const summary = hops.size > 1 ? hopSummary(own, page.style) : null;
    if (summary !== null) {
      lines.push(`${hop}  ${summary}`);
      continue;
    }
    lines.push(hop);
    for (const stage of own) {
      if (stage.status !== "done") focus ??= lines.length;
      lines.push(stageLine(stage, columns, page));
    }
  }
  return { lines, focus: focus ?? Math.max(0, lines.length - 1) };
}

/** As many of the lines as there is room for, around the focus; what is left out is counted. */
export function stageWindow({ lines, focus }: StageRows, room: number, style: Style): readonly string[] {
  if (lines.length <= room) return lines;
  const shown = Math.max(1, room - 2);
  // A little of what was done, more of what comes.
  const from = Math.max(0, Math.min(focus - Math.floor(shown / 3), lines.length - shown));
  const below = lines.length - from - shown;
  return [
    ...(from > 0 ? [style.dim(`  … ${plural(from, "line")} above`)] : []),
    ...lines.slice(from, from + shown),
    ...(below > 0 ? [style.dim(`  … ${plural(below, "line")} below`)] : []),
  ];
}

function hopSummary(stages: readonly StageView[], style: Style): string | null {
  const clusters = new Set(stages.map(({ cluster }) => cluster)).size;
  const size = `${plural(stages.length, "stage")}, ${plural(clusters, "cluster")}`;
  if (stages.every(({ status }) => status === "pending")) return style.dim(`${size} to come`);
  if (!stages.every(({ status }) => status === "done")) return null;
  const from = stages.reduce((at, { startedAt }) => Math.min(at, startedAt ?? at), Number.POSITIVE_INFINITY);
  const to = stages.reduce((at, { endedAt }) => Math.max(at, endedAt ?? at), 0);
  return `${style.good("✓")} ${size}, ${span(to - from)}`;
}

function byHop(stages: readonly StageView[]): Map<string, StageView[]> {
  const hops = new Map<string, StageView[]>();
  for (const stage of stages) {
    const own = hops.get(stage.hop);
    if (own === undefined) hops.set(stage.hop, [stage]);
    else own.push(stage);
  }
  return hops;
}

function widest(texts: readonly string[]): number {
  return texts.reduce((widest, text) => Math.max(widest, widthOf(text)), 0);
}
