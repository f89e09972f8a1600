import type { RunEvent } from "../run/event.js";
import { pick } from "./detail.js";
import { type AuditEntry, BELAYD_ITSELF, type NewEntry } from "./entry.js";

/** Where a run's own log stands: how many events, and the digest over all of them in their order. */
export interface RunMark {
  readonly events: number;
  readonly digest: string;
}

/**
 * Events of a run that the audit log has a line of, and what it keeps of each. What single steps did is in the run's own log,
 * which every such line seals by its digest.
 */
const KEPT: { readonly [T in RunEvent["type"]]?: readonly string[] } = {
  "run-started": ["plan", "check", "reason", "fence"],
  "lease-taken": ["owner", "fence"],
  "gate-opened": ["gate", "expiresAt"],
  "gate-decided": [
    "gate",
    "decision",
    "groups",
    "reason",
    "tokenBy",
    "signed.key",
    "signed.statement",
    "signed.signature",
  ],
  "approval-lapsed": ["gate", "of"],
  "approval-renewed": ["gate", "groups", "reason", "signed.key", "signed.statement", "signed.signature"],
  "gate-passed": ["gate", "how"],
  "gate-expired": ["gate", "action"],
  "failure-opened": ["gate", "stage", "cause.code"],
  "failure-decided": ["gate", "decision", "hosts", "reason"],
  "host-quarantined": ["host", "reason"],
  "host-released": ["host", "reason"],
  "pause-asked": ["reason"],
  resumed: [],
  "abort-asked": ["rollback", "reason"],
  "run-ended": ["result", "reason"],
};

/** What the audit log says of an event; null: nothing. `mark`: the run's log as it is with this event. */
export function entryOf(run: string, event: RunEvent, mark: RunMark): NewEntry | null {
  const names = KEPT[event.type];
  if (names === undefined) return null;
  const who =
    "by" in event && event.by !== BELAYD_ITSELF.name ? { name: event.by, how: "on record in the run" } : BELAYD_ITSELF;
  return {
    who,
    from: null,
    action: event.type as NewEntry["action"],
    phase: "done",
    about: { run, ...pick(event, names) },
    after: { ...mark },
  };
}

/** Where a run's log stood when this line was written; null: the line is of no run's log. */
export function markOf({ about, after }: AuditEntry, run: string): RunMark | null {
  const { events, digest } = after ?? {};
  if (about.run !== run || typeof events !== "number" || typeof digest !== "string") return null;
  return { events, digest };
}
