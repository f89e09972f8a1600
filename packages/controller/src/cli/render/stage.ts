import type { StageView } from "../../api/contract.js";
import { span } from "./measure.js";
import type { Style } from "./style.js";
import { pad, plural } from "./text.js";

const BAR_COLUMNS = 12;

/** `auth`, `node`; what says nothing new about a kind is left out. */
export function stageName(stage: StageView): string {
  // The id's last part tells apart what kind alone does not: `auth` and `auth-rest`.
  return stage.id.slice(stage.id.lastIndexOf(".") + 1) || stage.kind;
}

/** One stage as a row: mark, cluster, what, how far, how long. `columns` are the widths of cluster and stage name. */
export function stageLine(
  stage: StageView,
  columns: { readonly cluster: number; readonly name: number },
  page: { readonly now: number; readonly style: Style },
): string {
  const { style } = page;
  const name = `${pad(stage.cluster, columns.cluster)}  ${pad(stageName(stage), columns.name)}`;
  switch (stage.status) {
    case "done":
      return `  ${style.good("✓")} ${name}  ${pad(doneText(stage), 24)}  ${elapsed(stage, page.now)}`.trimEnd();
    case "active":
      return `  ${style.strong("▶")} ${style.strong(name)}  ${activeText(stage, style)}  ${elapsed(stage, page.now)}`;
    case "gated":
      return `  ${style.warn("◆")} ${style.strong(name)}  ${style.warn("gate open")}, ${plural(stage.hosts.total, "host")} behind it`;
    case "pending":
      return style.dim(`  · ${name}  ${plural(stage.hosts.total, "host")}`);
  }
}

function doneText({ hosts }: StageView): string {
  return [plural(hosts.ok, "host"), ...troubles(hosts)].join(", ");
}

function activeText(stage: StageView, style: Style): string {
  const { hosts } = stage;
  const ended = hosts.ok + hosts.failed + hosts.skipped;
  const batch = stage.batches > 1 ? `batch ${Math.max(1, stage.batch)}/${stage.batches}  ` : "";
  const counts = [`${ended}/${hosts.total}`, ...(hosts.active > 0 ? [`${hosts.active} at work`] : [])];
  const trouble = troubles(hosts).map((text) => (text.endsWith("failed") ? style.bad(text) : style.warn(text)));
  return `${batch}${bar(ended, hosts.total)}  ${[...counts, ...trouble].join(", ")}`;
}

function troubles(hosts: StageView["hosts"]): string[] {
  return [
    ...(hosts.failed > 0 ? [`${hosts.failed} failed`] : []),
    ...(hosts.skipped > 0 ? [`${hosts.skipped} skipped`] : []),
  ];
}

function bar(done: number, total: number): string {
  const full = total === 0 ? BAR_COLUMNS : Math.floor((done / total) * BAR_COLUMNS);
  return "█".repeat(full) + "░".repeat(BAR_COLUMNS - full);
}

function elapsed(stage: StageView, now: number): string {
  return stage.startedAt === null ? "" : span((stage.endedAt ?? now) - stage.startedAt);
}
