import { done } from "@belay/shared";
import type { Perform } from "./op.js";

/** Stops a service and waits until no process of it is left. Idempotent. */
export const stop: Perform<"stop"> = async (op, host, attempt) => {
  const service = host.allowed.service(op.service);
  const { state } = await service.status();
  if (attempt.check) return state === "stopped" ? done(false) : done(true, { would: `stop ${op.service}` });
  if (attempt.passed("stopping") === undefined) {
    if (state !== "stopped") await service.needDefinition();
    await attempt.pass("stopping", { was: state });
  }
  // Also where it is stopped: its supervisor may say so while processes of it are left.
  await service.stop(op.timeoutMs);
  // Stopped by an earlier life that could not say so any more: that is this step's change.
  return done(attempt.passed("stopping")?.was !== "stopped");
};
