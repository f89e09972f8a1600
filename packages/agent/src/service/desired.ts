import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import { makeDir, orMissing, writeDurably } from "../durable.js";

/** What a supervised service should be, kept across restarts of the agent and the machine (I14). */
export interface DesiredState {
  desired: "running" | "stopped";
  restarts: number;
}

/** Null if nobody has ever started or stopped it. Throws `service-state-corrupt`. */
export async function readDesired(file: string): Promise<DesiredState | null> {
  const text = await orMissing(readFile(file, "utf8"));
  if (text === null) return null;
  try {
    const { desired, restarts } = JSON.parse(text) as Partial<DesiredState>;
    if ((desired === "running" || desired === "stopped") && typeof restarts === "number") return { desired, restarts };
  } catch {
    // Not JSON: the same complaint as for wrong JSON below.
  }
  throw new BelayError("service-state-corrupt", `${file} does not say what the service should be`, {
    hint: 'write {"desired":"running","restarts":0} or {"desired":"stopped","restarts":0} into it',
    context: { file },
  });
}

export async function writeDesired(file: string, state: DesiredState): Promise<void> {
  await makeDir(dirname(file), 0o700);
  await writeDurably(file, `${JSON.stringify(state)}\n`, 0o600);
}
