import { done } from "@belay/shared";
import type { Perform } from "./op.js";

/** Stops a service and waits until no process of it is left. Idempotent. */
export const stop: Perform<"stop"> = async (op, host, attempt) => {
  const service = host.allowed.service(op.service);
  const { state } = await service.status();
  // Stopped by an earlier life that could not say so any more: that is this step's change.
  if (state === "stopped") return done(attempt.passed("stopping") !== undefined);
  if (attempt.check) return done(true, { would: `stop ${op.service}` });
  if (attempt.passed("stopping") === undefined) await attempt.pass("stopping");
  await service.stop(op.timeoutMs);
  return done(true);
};
