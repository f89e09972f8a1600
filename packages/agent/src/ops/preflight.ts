import { BelayError, done } from "@belay/shared";
import { roomAt } from "../facts/disk.js";
import { factsOf } from "../facts/snapshot.js";
import type { Perform } from "./op.js";

/** Is this host as the plan assumed, and has it room? The first thing that isn't so is the failure. */
export const preflight: Perform<"preflight"> = async (op, host, attempt) => {
  const facts = await factsOf(op.probe, host, attempt.signal);
  if (op.expect !== null && facts.installed !== op.expect) throw drift(op.expect, facts.installed);
  for (const need of op.needs) {
    await host.allowed.path(need.path);
    const room = await roomAt(need.path);
    if (room.freeBytes >= need.bytes && room.freeInodes >= need.inodes) continue;
    throw new BelayError(
      "disk-full",
      `${need.path} has ${room.freeBytes} bytes and ${room.freeInodes} inodes free; ${need.bytes} and ${need.inodes} are needed`,
      { hint: "free some space, or prune old versions and backups", context: { need, room } },
    );
  }
  if (op.healthy && !facts.healthy) {
    throw new BelayError("unhealthy", `the service is not healthy: ${facts.ailments.join("; ")}`, {
      hint: "upgrade only what works: repair this host, or quarantine it",
      context: { ailments: facts.ailments },
    });
  }
  return done(false, facts);
};

/** The world differs from what the plan assumed: nothing is done, and a new plan is needed. */
export function drift(expected: string, found: string | null): BelayError {
  return new BelayError("drift", `the plan assumed ${expected}, and found ${found ?? "nothing"}`, {
    hint: "something else changed this host: look at it, then plan anew",
    context: { expected, found },
  });
}
