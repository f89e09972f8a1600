import { BackupResult, decoder, type Op, type Outcome, SwapResult } from "@belay/shared";
import type { BackupRow } from "../store/runs.js";

const decodeBackup = decoder(BackupResult, "result of a backup", "result-malformed");
const decodeSwap = decoder(SwapResult, "result of a swap", "result-malformed");

/** The backup that a finished step made or read back, if it did: it goes into the list of backups with the step's event. */
export function backupOf(
  where: { run: string; hop: string; host: string },
  op: Op,
  outcome: Outcome,
): BackupRow | null {
  if (outcome.status !== "done") return null;
  switch (op.kind) {
    case "backup":
      return { ...where, dir: op.spec.dir, result: decodeBackup(outcome.result) };
    case "verify-backup":
      return { ...where, dir: op.dir, result: decodeBackup(outcome.result) };
    case "swap": {
      if (op.snapshot === null) return null;
      const { snapshot } = decodeSwap(outcome.result);
      return snapshot === null ? null : { ...where, dir: op.snapshot.dir, result: snapshot };
    }
    default:
      return null;
  }
}

/**
 * An agent's result must have the shape its op promises before it counts as done (I7): a `done` that doesn't say what
 * was done is not believed.
 */
export function believe(op: Op, outcome: Outcome): Outcome {
  if (outcome.status !== "done") return outcome;
  try {
    if (op.kind === "backup" || op.kind === "verify-backup") decodeBackup(outcome.result);
    if (op.kind === "swap") decodeSwap(outcome.result);
    return outcome;
  } catch (error) {
    return {
      status: "unknown",
      error: {
        code: "result-malformed",
        message: (error as Error).message,
        hint: "The agent's version does not fit this belayd. Upgrade the older of the two, then retry.",
      },
    };
  }
}
