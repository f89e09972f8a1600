import { BelayError } from "@belay/shared";
import type { Session } from "./session.js";

/** Asks whether to start what was shown. Throws `confirmation-missing` where nobody can be asked. */
export async function confirmed(session: Session, what: "rollback" | "restore"): Promise<boolean> {
  if (!session.outside.canAsk || session.json) {
    throw new BelayError("confirmation-missing", `a ${what} is started only when somebody says so`, {
      hint: "--yes starts it without asking; --plan-only shows the plan.",
    });
  }
  const answer = await session.outside.ask(`Start this ${what}? [y/N] `, new AbortController().signal);
  return /^y(es)?$/i.test(answer?.trim() ?? "");
}
