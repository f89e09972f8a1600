import type { GateView, RunView } from "@belay/controller/api/contract";
import { APPROVER, type Api } from "./api.js";
import { until } from "./until.js";

/** A look at a run: what is looked for, and how long that may take. */
export interface Look {
  readonly what: string;
  readonly found: (view: RunView) => boolean;
  readonly patienceMs: number;
}

/** Waits until the run looks as asked for, and approves nothing meanwhile. Throws where it ends without. */
export function see(api: Api, run: string, look: Look): Promise<RunView> {
  return follow(api, run, look, null);
}

/** Approves every gate that opens until the run looks as asked for. An unforeseen failure gate or end is an error. */
export function lead(api: Api, run: string, look: Look): Promise<RunView> {
  return follow(api, run, look, APPROVER);
}

export function isAtFailure(view: RunView): view is RunView & { gate: GateView } {
  return view.gate?.kind === "failure" && view.gate.status === "open";
}

async function follow(api: Api, run: string, { what, found, patienceMs }: Look, by: string | null): Promise<RunView> {
  let last: RunView | null = null;
  await until(
    async () => {
      const view = await api.run(run);
      last = view;
      if (found(view)) return true;
      if (view.status === "ended" || (by !== null && isAtFailure(view))) throw new Error(`no ${what}: ${tell(view)}`);
      if (by !== null && view.status === "waiting" && view.gate?.status === "open") {
        await approve(api, run, view.gate.gate, by);
      }
      return tell(view);
    },
    `${run}: ${what}`,
    patienceMs,
  );
  if (last === null) throw new TypeError("looked at least once");
  return last;
}

/** The gate may have moved on between the look and the word. */
async function approve(api: Api, run: string, gate: string, by: string): Promise<void> {
  await api.approve(run, gate, by).catch((error: { code?: string }) => {
    if (error.code !== "gate-passed" && error.code !== "already-decided") throw error;
  });
}

function tell({ status, result, waits, failures }: RunView): string {
  return JSON.stringify({ status, result, waits, failures });
}
