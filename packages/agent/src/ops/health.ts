import { BelayError, done } from "@belay/shared";
import { factsOf } from "../facts/snapshot.js";
import type { Perform } from "./op.js";
import { settle } from "./settle.js";

/** Waits until the service is healthy and reports the version that is expected (I8). A check takes one look. */
export const health: Perform<"health"> = async (op, host, attempt) => {
  const { probe, expect, settleMs, timeoutMs } = op;
  const first = await factsOf(probe, host, attempt.signal);
  if (attempt.check) {
    const ok = first.healthy && (expect === null || first.running === expect);
    return done(false, { ...first, would: ok ? "find it healthy" : `wait up to ${timeoutMs} ms for it to be healthy` });
  }
  const version = expect === null ? null : { expect, probes: probe.version, versionsDir: probe.versionsDir };
  const service = host.allowed.service(probe.service);
  const { signal } = attempt;
  // Restarts don't fail it at once: it may have been restarting when we came. Each begins the settle time anew.
  await settle(
    { service, checks: probe.checks, version, restarts: null, settleMs, startTimeoutMs: timeoutMs, signal },
    host,
  );
  const facts = await factsOf(probe, host, signal);
  if (!facts.healthy) {
    throw new BelayError("unhealthy", `the service was healthy, and is not any more: ${facts.ailments.join("; ")}`, {
      hint: "look at the service's own log on this host",
      context: { ailments: facts.ailments },
    });
  }
  return done(false, facts);
};
