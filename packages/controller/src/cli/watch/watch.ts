import { BelayError } from "@belay/shared";
import type { GateView, RunView } from "../../api/contract.js";
import type { Api } from "../api.js";
import { EXIT } from "../exit.js";
import { recapLines } from "../render/recap.js";
import type { Session } from "../session.js";
import { type Display, JsonDisplay, LineDisplay, LiveDisplay } from "./display.js";
import { followRun, type Sighting } from "./follow.js";
import { GatePrompt } from "./prompt.js";
import { needsPeople, verdictOf } from "./verdict.js";

export interface WatchOptions {
  readonly exitAtGate?: true;
  /** Only at failure gates; the others wait for whoever answers them. */
  readonly exitAtFailure?: true;
  readonly prompt?: true;
}

/**
 * Follows a run to its end, or to a gate that the options name: a live screen on a terminal, else lines as things happen, with
 * --json a value a line. Ctrl-C ends the following, never the run. Answers with the exit code.
 */
export async function watchRun(session: Session, api: Api, run: string, options: WatchOptions): Promise<number> {
  const { outside } = session;
  if (options.prompt && (session.json || !outside.canAsk || !outside.out.isTty)) {
    throw new BelayError("prompt-needs-terminal", "--prompt needs a person at a terminal", {
      hint: "Leave it out, and answer gates with belay gate approve or belay gate reject.",
    });
  }
  const stop = new AbortController();
  const display = displayFor(session);
  const prompt = options.prompt ? new GatePrompt(session, api) : null;
  const release = outside.onInterrupt(() => stop.abort());
  let last: RunView | null = null;
  try {
    for await (const sighting of followRun(api, run, outside, stop.signal)) {
      if (stop.signal.aborted) break;
      if (sighting.kind === "view") last = sighting.view;
      show(display, sighting, prompt);
      if (last === null || sighting.kind === "lost") continue;
      if (last.status === "ended" || leavesAt(last.gate, options)) {
        display.close();
        return await conclude(session, api, last);
      }
      prompt?.consider(last, display, stop.signal);
    }
  } finally {
    release();
    stop.abort();
    await prompt?.settled();
    display.close();
  }
  const id = last?.id ?? run;
  session.remark(`Not watching any more. Run ${id} goes on; belay run watch ${id} follows it again.`);
  return EXIT.interrupted;
}

function leavesAt(gate: GateView | null, { exitAtGate, exitAtFailure }: WatchOptions): boolean {
  return needsPeople(gate) && (exitAtGate === true || (exitAtFailure === true && gate.kind === "failure"));
}

/** The recap, and what the run comes to. */
async function conclude(session: Session, api: Api, view: RunView): Promise<number> {
  const recap = await api.recap(view.id);
  if (session.json) session.printJsonLine({ recap });
  else if (view.status === "ended") session.print(["", ...recapLines(recap, session.style)]);
  return verdictOf(view, recap);
}

/** While a person answers a prompt, the screen holds still. */
function show(display: Display, sighting: Sighting, prompt: GatePrompt | null): void {
  if (sighting.kind === "view") prompt?.look(sighting.view);
  if (prompt?.asking) return;
  if (sighting.kind === "view") display.view(sighting.view);
  else display.lost(sighting.error);
}

function displayFor(session: Session): Display {
  if (session.json) return new JsonDisplay(session);
  const { out, env } = session.outside;
  return out.isTty && env.TERM !== "dumb" ? new LiveDisplay(session) : new LineDisplay(session);
}
