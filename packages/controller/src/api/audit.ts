import type { AuditEntry } from "../audit/entry.js";

/** Entries of the audit log, the newest first. */
export interface AuditPage {
  /** Its name. */
  readonly log: string;
  /** How many entries it has. */
  readonly size: number;
  readonly entries: readonly AuditEntry[];
  /** As `before` of the next page; null: that was all. */
  readonly next: number | null;
}
