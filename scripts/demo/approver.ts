import { setTimeout as sleep } from "node:timers/promises";
import type { Api } from "../../test/support/real-fleet/index.js";
import type { Belay } from "./belay.js";

const LOOK_EVERY_MS = 200;
const SEEN_AFTER_MS = 2_000;

/** Approves every gate between stages as soon as it opens, by the command a person would type. Failure gates are left alone. */
export function approveAll(api: Api, belay: Belay): { stop(): Promise<void> } {
  let going = true;
  const work = (async () => {
    while (going) {
      for (const { run, gate, kind } of await api.openGates()) {
        if (kind === "failure") continue;
        await belay.quiet(["gate", "approve", gate, "--run", run, "--reason", "approved by demo --yes"]);
      }
      await sleep(LOOK_EVERY_MS);
    }
  })();
  return {
    async stop() {
      going = false;
      await work;
    },
  };
}

/** Settles a moment after a failure gate has opened, so that whoever watches has seen it. */
export async function failureGate(api: Api): Promise<void> {
  while (!(await api.openGates()).some(({ kind }) => kind === "failure")) await sleep(LOOK_EVERY_MS);
  await sleep(SEEN_AFTER_MS);
}
