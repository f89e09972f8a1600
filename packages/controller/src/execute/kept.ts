import {
  AgentUpgradeResult,
  BackupResult,
  decoder,
  type Op,
  type Outcome,
  PruneResult,
  SwapResult,
} from "@belay/shared";
import type { BackupChange } from "../store/runs.js";

const decodeBackup = decoder(BackupResult, "result of a backup", "result-malformed");
const decodeAgentUpgrade = decoder(AgentUpgradeResult, "result of an agent's upgrade", "result-malformed");
const decodePrune = decoder(PruneResult, "result of a prune", "result-malformed");
const decodeSwap = decoder(SwapResult, "result of a swap", "result-malformed");

/** What a finished step made, read back, removed or found to be no use: it goes into the list of backups with the step's event. */
export function backupChange(
  where: { run: string; hop: string; host: string },
  op: Op,
  outcome: Outcome,
): BackupChange | null {
  const lost = lostIn(op, outcome);
  if (lost !== null) return { host: where.host, backup: lost, result: null };
  if (outcome.status !== "done") return snapshotLeft(where, op, outcome);
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
    case "prune":
      return { host: where.host, dir: op.backupsDir, pruned: decodePrune(outcome.result).backups };
    default:
      return null;
  }
}

/** The snapshot of a swap that did not hold: above all where it could not be put back, it is what people go back to. */
function snapshotLeft(
  where: { run: string; hop: string; host: string },
  op: Op,
  outcome: Outcome,
): BackupChange | null {
  if (op.kind !== "swap" || op.snapshot === null || !("error" in outcome)) return null;
  const snapshot = outcome.error.context?.snapshot;
  if (snapshot === undefined) return null;
  try {
    return { ...where, dir: op.snapshot.dir, result: decodeBackup(snapshot) };
  } catch {
    // That the swap failed is believed as it is; what can't be read as a backup is none.
    return null;
  }
}

/**
 * The backup that a host was to read or put back, if it is gone from there or another than was made; null: nothing of the kind.
 * What could not be read for now says nothing.
 */
export function lostIn(op: Op, outcome: Outcome): string | null {
  if (outcome.status !== "failed" || (op.kind !== "verify-backup" && op.kind !== "restore")) return null;
  // What was read is a copy alone.
  if (op.kind === "verify-backup" && op.copy !== undefined) return null;
  const { code } = outcome.error;
  return code === "backup-missing" || code === "backup-corrupt" ? op.id : null;
}

/** Certificates, sessions and lock expiries go wrong on a host whose clock is further off than this. */
const MAX_CLOCK_OFFSET_MS = 5 * 60_000;

/**
 * An agent's result must have the shape its op promises before it counts as done (I7): a `done` that doesn't say what
 * was done is not believed. A preflight passes only on a host whose clock (`clockOffsetMs`: its own minus ours, when its
 * last facts came) can be trusted too, which the host can't judge by itself.
 */
export function believe(op: Op, outcome: Outcome, clockOffsetMs: number | null): Outcome {
  if (outcome.status !== "done") return outcome;
  if (op.kind === "preflight" && Math.abs(clockOffsetMs ?? 0) > MAX_CLOCK_OFFSET_MS)
    return clockOff(clockOffsetMs ?? 0);
  try {
    if (op.kind === "backup" || op.kind === "verify-backup") decodeBackup(outcome.result);
    if (op.kind === "swap") decodeSwap(outcome.result);
    if (op.kind === "prune") decodePrune(outcome.result);
    if (op.kind === "upgrade-agent") decodeAgentUpgrade(outcome.result);
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

function clockOff(offsetMs: number): Outcome {
  const seconds = Math.round(offsetMs / 1000);
  return {
    status: "failed",
    retryable: false,
    error: {
      code: "clock-skew",
      message: `this host's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} belayd's`,
      hint: "Set its clock (and see that it stays set), then retry.",
      context: { offsetMs },
    },
  };
}
