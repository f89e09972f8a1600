import { BelayError } from "@belay/shared";

/** A log that is not what its newest checkpoint says. `why` names what is wrong with it. */
export function auditDamaged(why: string): BelayError {
  return new BelayError("audit-damaged", `the audit log is damaged: ${why}`, {
    hint: "`belay-audit-verify` says what is whole. docs/audit.md says how a new log is begun, with this one kept.",
  });
}
