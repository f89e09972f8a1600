import { errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { IdentityEvent } from "../identity/event.js";
import { pick } from "./detail.js";
import { type AuditSink, BELAYD_ITSELF, type NewEntry } from "./entry.js";
import type { RefusalTally } from "./tally.js";

const KEPT = ["host", "hosts", "owner", "why", "generation", "sequence", "expiresAt", "pin", "reason"];

/**
 * Puts on record what happens to identities. Strangers who fail are counted, but for the first of a kind a minute. What it returns
 * settles also when what happened can't be recorded: then the log says so.
 */
export function identityRecorder(
  audit: AuditSink,
  refusals: RefusalTally,
  log: Logger,
): (event: IdentityEvent) => Promise<void> {
  return async (event) => {
    const entry = entryOf(event);
    if (entry.phase === "refused") {
      refusals.report(`${event.type} ${entry.about.host} ${entry.about.why}`, entry);
      return;
    }
    try {
      await audit.append(entry);
    } catch (error) {
      log.error({ event, error: errorInfo(error) }, "what happened to an identity is not on record");
    }
  };
}

function entryOf(event: IdentityEvent): NewEntry {
  const { type } = event;
  const phase = type === "join-refused" || type === "certificate-refused" ? "refused" : "done";
  const about = pick(event, KEPT);
  if (type === "identity-cloned") {
    return { who: BELAYD_ITSELF, from: null, action: type, phase, about: { ...about, from: [...event.from] } };
  }
  const from = "from" in event ? { address: event.from, door: "of hosts" } : null;
  return { who: whoOf(event), from, action: type, phase, about };
}

function whoOf(event: IdentityEvent): NewEntry["who"] {
  switch (event.type) {
    case "host-joined":
    case "join-repeated":
      return { name: event.host, how: "its token for joining" };
    case "certificate-renewed":
      return { name: event.host, how: "its certificate" };
    case "join-refused":
    case "certificate-refused":
      return { name: "nobody", how: "what it showed was refused" };
    case "identity-cloned":
      return BELAYD_ITSELF;
    default:
      return { name: event.by, how: "on record with the identities" };
  }
}
