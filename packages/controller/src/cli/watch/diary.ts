import type { GateView, RunView, StageView } from "../../api/contract.js";
import { gateLines, type Page } from "../render/gate.js";
import { clock, span } from "../render/measure.js";
import { plural } from "../render/text.js";

/** A stage of many hosts says how far it is at every tenth of them. */
const TENTHS = 10;

interface Entry {
  readonly at: number;
  readonly lines: readonly string[];
}

/**
 * What is new in a run since the last look, as lines to append: for logs, CI, and everything that is no terminal. In the order
 * in which it happened, however much of it lies between two looks.
 */
export function newLines(before: RunView | null, view: RunView, page: Page): string[] {
  const entries: Entry[] = [];
  const say = (at: number, text: string) => entries.push({ at, lines: [`${clock(at)} ${text}`] });

  const known = new Map(before?.stages.map((stage) => [stage.id, stage]));
  if (before?.gate != null && before.gate.gate !== view.gate?.gate) {
    say(closedAt(before, view, page.now), `gate ${before.gate.gate}: closed`);
  }
  for (const stage of view.stages) {
    for (const { at, text } of stageNews(before === null ? stage : known.get(stage.id), stage, page.now)) say(at, text);
  }
  for (const failure of newFailures(before, view)) {
    const { host, stage, error, at } = failure;
    say(at, page.style.bad(`FAILED ${host} in ${stage}: ${error.message} (${error.code})`));
  }
  if (view.gate !== null) entries.push(...gateNews(before?.gate ?? null, view.gate, page));
  if (before !== null && before.status !== view.status && view.status !== "ended" && view.status !== "waiting") {
    say(page.now, `run ${view.id} is ${view.status}`);
  }
  for (const wait of newWaits(before, view)) say(wait.since, `waits: ${wait.message}; ${wait.unblock}`);
  const said = entries.sort((a, b) => a.at - b.at).flatMap(({ lines }) => lines);
  return [...beginning(before, view, page), ...said, ...ending(before, view, page)];
}

function beginning(before: RunView | null, view: RunView, page: Page): string[] {
  if (before !== null) return [];
  const done = view.stages.filter(({ status }) => status === "done").length;
  const soFar = done === 0 ? "" : `, ${done} of ${plural(view.stages.length, "stage")} done`;
  return [`${clock(page.now)} ${view.check ? "check" : "run"} ${view.id} to ${view.to}: ${view.status}${soFar}`];
}

function ending(before: RunView | null, view: RunView, page: Page): string[] {
  if (view.status !== "ended" || before?.status === "ended") return [];
  const at = view.endedAt ?? page.now;
  return [`${clock(at)} run ${view.id}: ${view.result ?? "ended"} after ${span(at - view.startedAt)}`];
}

/** Nobody says when: before all else that is new, be it what stood behind the gate, the rest of its stage, or another gate. */
function closedAt(before: RunView, view: RunView, now: number): number {
  const known = new Map(before.stages.map((stage) => [stage.id, stage]));
  const news = view.stages.flatMap(({ id, startedAt, endedAt }) => {
    const was = known.get(id);
    return [was?.startedAt == null ? startedAt : null, was?.endedAt == null ? endedAt : null];
  });
  return Math.min(now, ...[...news, view.gate?.openedAt ?? null].filter((at) => at !== null));
}

function* stageNews(
  before: StageView | undefined,
  stage: StageView,
  now: number,
): Generator<{ readonly at: number; readonly text: string }> {
  const started = before?.status !== "active" && before?.status !== "done";
  if (stage.status === "active" && started) {
    yield { at: stage.startedAt ?? now, text: `stage ${stage.id}: ${plural(stage.hosts.total, "host")}` };
  }
  const ended = countEnded(stage);
  if (
    stage.status === "active" &&
    before !== undefined &&
    (stage.batch !== before.batch || tenth(stage) > tenth(before))
  ) {
    const batch = stage.batches > 1 ? ` batch ${Math.max(1, stage.batch)} of ${stage.batches},` : "";
    const failed = stage.hosts.failed === 0 ? "" : `, ${stage.hosts.failed} failed`;
    yield {
      at: now,
      text: `stage ${stage.id}:${batch} ${ended} of ${plural(stage.hosts.total, "host")} done${failed}`,
    };
  }
  if (stage.status === "done" && before?.status !== "done") {
    const took =
      stage.startedAt === null || stage.endedAt === null ? "" : ` in ${span(stage.endedAt - stage.startedAt)}`;
    const { ok, failed, skipped } = stage.hosts;
    const rest = `${failed === 0 ? "" : `, ${failed} failed`}${skipped === 0 ? "" : `, ${skipped} skipped`}`;
    yield { at: stage.endedAt ?? now, text: `stage ${stage.id}: done${took}, ${ok} ok${rest}` };
  }
}

function gateNews(before: GateView | null, gate: GateView, page: Page): Entry[] {
  if (before?.gate !== gate.gate) return [{ at: gate.openedAt ?? page.now, lines: ["", ...gateLines(gate, page), ""] }];
  return gate.decisions.slice(before.decisions.length).map(({ decision, by, reason, at }) => ({
    at,
    lines: [`${clock(at)} gate ${gate.gate}: ${decision} by ${by}${reason === "" ? "" : `: ${reason}`}`],
  }));
}

function newFailures(before: RunView | null, view: RunView): RunView["failures"] {
  const known = new Set(before?.failures.map(({ host, stage, at }) => `${host} ${stage} ${at}`));
  return view.failures.filter(({ host, stage, at }) => !known.has(`${host} ${stage} ${at}`));
}

function newWaits(before: RunView | null, view: RunView): RunView["waits"] {
  const told = new Set(["gate-open", "failure-gate-open", "steps-in-flight", "ended", "aborting", "retry-backoff"]);
  const known = new Set(before?.waits.map(({ code, since }) => `${code} ${since}`));
  return view.waits.filter(({ code, since }) => !told.has(code) && !known.has(`${code} ${since}`));
}

function countEnded({ hosts }: StageView): number {
  return hosts.ok + hosts.failed + hosts.skipped;
}

function tenth(stage: StageView): number {
  return stage.hosts.total < TENTHS * 2 ? 0 : Math.floor((countEnded(stage) * TENTHS) / stage.hosts.total);
}
