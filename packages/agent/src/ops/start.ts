import { done } from "@belay/shared";
import { ailmentsOf } from "../facts/health.js";
import type { Perform } from "./op.js";
import { settle } from "./settle.js";

/**
 * Starts a service and watches it settle as a swap does. Idempotent. One that doesn't settle is left as it is, for a
 * person to look at: this op has no former state to go back to.
 */
export const start: Perform<"start"> = async (op, host, attempt) => {
  const service = host.allowed.service(op.service);
  const before = await service.status();
  const running = before.state === "running";
  if (running && (await ailmentsOf(op.checks, before.pid, host, attempt.signal)).length === 0) {
    // After a crash of the agent, it may be this very step that started it: that is a change, and has yet to settle.
    if (attempt.passed("starting") === undefined) return done(false);
  }
  if (attempt.check) return done(!running, { would: running ? `wait for ${op.service}` : `start ${op.service}` });
  if (attempt.passed("starting") === undefined) await attempt.pass("starting");
  await service.start();
  const { restarts } = await service.status();
  const { checks, settleMs, timeoutMs } = op;
  const startTimeoutMs = timeoutMs;
  await settle({ service, checks, version: null, restarts, settleMs, startTimeoutMs, signal: attempt.signal }, host);
  return done(!running || attempt.passed("starting") !== undefined);
};
