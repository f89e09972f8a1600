import { BelayError, failed, type Op, type OpKind, type Outcome } from "@belay/shared";
import { failureOf } from "../facts/disk.js";
import type { Host } from "../host.js";
import { backup } from "./backup.js";
import { facts } from "./facts.js";
import { fetch } from "./fetch.js";
import { health } from "./health.js";
import { noop } from "./noop.js";
import type { Attempt, Perform } from "./op.js";
import { preflight } from "./preflight.js";
import { prune } from "./prune.js";
import { restore } from "./restore.js";
import { isRetryable } from "./retryable.js";
import { start } from "./start.js";
import { stop } from "./stop.js";
import { swap } from "./swap.js";
import { upgradeAgent } from "./upgrade-agent.js";
import { verifyBackupOp } from "./verify-backup.js";

/** Everything an agent can do. The compiler holds this list to the contract's. */
const ops: { [K in OpKind]: Perform<K> } = {
  facts,
  noop,
  preflight,
  fetch,
  backup,
  "verify-backup": verifyBackupOp,
  swap,
  stop,
  start,
  health,
  restore,
  prune,
  "upgrade-agent": upgradeAgent,
};

/**
 * Carries out any op. Never throws for what an op ran into: that is a failed outcome. Throws the halt signal's reason
 * when the agent stops, because then there is no outcome yet.
 */
export async function perform(op: Op, host: Host, attempt: Attempt): Promise<Outcome> {
  try {
    return await (ops[op.kind] as Perform<OpKind>)(op, host, attempt);
  } catch (thrown) {
    attempt.halt.throwIfAborted();
    const error = await failureOf(thrown);
    if (!(thrown instanceof BelayError) && error.code === "internal") {
      host.log.error({ step: attempt.step, stack: (thrown as Error).stack }, "an op failed in a way nobody foresaw");
    }
    return failed(error, isRetryable(error.code));
  }
}
