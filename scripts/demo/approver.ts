import { setTimeout as sleep } from "node:timers/promises";
import type { Api } from "../../test/support/real-fleet/index.js";
import { typedElsewhere } from "./in-process.js";
import { say } from "./screen.js";

const LOOK_EVERY_MS = 100;

/** Somebody who signs, at a terminal of their own. */
export interface Signing {
  readonly token: string;
  /** File of their private key. */
  readonly key: string;
}

/**
 * Signs for every gate between stages as soon as it opens, by the command that each person would type. Failure gates are left
 * alone.
 */
export function approveAll(api: Api, people: readonly Signing[]): { stop(): Promise<void> } {
  let going = true;
  const approve = async (run: string, gate: string, { token, key }: Signing) => {
    const args = ["gate", "approve", run, gate, "--sign", key, "--yes", "--reason", "approved by demo --yes"];
    const failure = await typedElsewhere(args, { BELAY_SERVER: api.address, BELAY_TOKEN: token });
    // Both sign at once, so the gate may have moved on since somebody looked.
    if (failure !== null && !/already|gate-passed|gate-closed/.test(failure)) say(failure);
  };
  const work = (async () => {
    while (going) {
      for (const { run, gate, kind } of await api.openGates()) {
        if (kind !== "failure") await Promise.all(people.map((person) => approve(run, gate, person)));
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
