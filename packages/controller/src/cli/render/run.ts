import type { RunSummary, RunView } from "../../api/contract.js";
import { brokenGlassLines, gateLines, type Page } from "./gate.js";
import { labelled, labelledText } from "./label.js";
import { clock, dateTime, span } from "./measure.js";
import { stageRows } from "./stages.js";
import type { Style } from "./style.js";
import { listing, names, plural, table } from "./text.js";
import { waitLines } from "./wait.js";

const SHOWN = { flights: 6, failures: 5, quarantined: 5 } as const;

/** All of a run as it stands, for `run show` and the end of `run watch`. */
export function runLines(view: RunView, page: Page): string[] {
  return [
    headLine(view, page),
    ...brokenGlassLines(view.brokenGlass, page),
    "",
    ...stageRows(view.stages, page).lines,
    ...detailLines(view, page),
    ...pausedLines(view, page),
  ];
}

/** What goes on in a run besides its stages: hosts at work, failures, hosts set aside, the open gate or why it waits. */
export function detailLines(view: RunView, page: Page): string[] {
  return [
    ...blankBefore([...flightLines(view, page), ...failureLines(view, page), ...asideLines(view)]),
    ...blankBefore(view.gate === null ? [] : gateLines(view.gate, page)),
  ];
}

/** Waits that neither the open gate nor the hosts at work tell already. */
export function pausedLines(view: RunView, page: Page): readonly string[] {
  const told = new Set(["gate-open", "failure-gate-open", "steps-in-flight", "ended"]);
  return blankBefore(
    waitLines(
      view.waits.filter(({ code }) => !told.has(code)),
      page,
    ),
  );
}

/** `run 20261123-201500-3f9c7a to 7.1.0  running  4m12s, about 3m00s left (20:21:04)` */
export function headLine(view: RunView, { now, style }: Page): string {
  const what = `${view.check ? "check" : view.kind === "upgrade" ? "run" : view.kind} ${view.id} to ${view.to}`;
  const took = span((view.endedAt ?? now) - view.startedAt);
  return `${style.strong(what)}  ${statusText(view, style)}  ${took}${expected(view, now)}`;
}

export function statusText(run: RunSummary, style: Style): string {
  if (run.status !== "ended") return run.status === "running" ? style.good(run.status) : style.warn(run.status);
  return run.result === "done" ? style.good("done") : style.bad(run.result ?? "ended");
}

export function runListing(runs: readonly RunSummary[], now: number, style: Style): string[] {
  return listing(
    ["RUN", "WHAT", "TO", "PLAN", "STATUS", "STARTED", "TOOK", "BY"],
    runs.map((run) => [
      run.id,
      run.check ? "check" : run.kind,
      run.to,
      run.plan.slice(0, 12),
      statusText(run, style),
      dateTime(run.startedAt),
      span((run.endedAt ?? now) - run.startedAt),
      run.startedBy,
    ]),
    "no run yet: belay run start",
  );
}

function flightLines(view: RunView, { now }: Page): string[] {
  if (view.inFlightTotal === 0) return [];
  const rows = view.inFlight
    .slice(0, SHOWN.flights)
    .map(({ host, op, since, note }) => [host, op, span(now - since), note ?? ""]);
  const more = view.inFlightTotal - rows.length;
  return labelled("at work", [...table(rows), ...(more > 0 ? [`and ${plural(more, "more host", "more hosts")}`] : [])]);
}

function failureLines(view: RunView, { columns, style }: Page): string[] {
  const shown = view.failures.slice(-SHOWN.failures);
  return shown.flatMap(({ host, stage, error, at }, index) =>
    labelledText(
      index === 0 ? "failed" : "",
      `${clock(at)} ${host} in ${stage}: ${error.message} (${error.code})`,
      columns,
      style.bad,
    ),
  );
}

function asideLines(view: RunView): string[] {
  if (view.quarantined.length === 0) return [];
  const told = view.quarantined.map(({ host, reason }) => (reason === "" ? host : `${host} (${reason})`));
  return labelled("set aside", [names(told, SHOWN.quarantined)]);
}

function expected(view: RunView, now: number): string {
  if (view.expectedEndAt === null || view.endedAt !== null) return "";
  if (view.expectedEndAt <= now) return ", longer than expected";
  return `, about ${span(view.expectedEndAt - now)} left (${clock(view.expectedEndAt)})`;
}

function blankBefore(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ["", ...lines];
}
