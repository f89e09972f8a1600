import { setTimeout as sleep } from "node:timers/promises";
import type { Api } from "../../test/support/real-fleet/index.js";
import type { Belay } from "./belay.js";

const LOOK_EVERY_MS = 200;

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
