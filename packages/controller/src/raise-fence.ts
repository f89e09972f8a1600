import { BelayError, MAX_FENCE } from "@belay/shared";
import type { Logger } from "pino";
import { openAudit } from "./audit/room.js";
import type { Config } from "./config.js";
import { LeaseStore } from "./store/leases.js";
import { openSqlite } from "./store/sqlite.js";

/**
 * Lets a belayd lead again whose hosts have met another (I13): what they know up to `above` counts as its own, and what it gives
 * out is higher. Refused while a belayd runs on this folder (`store-in-use`). On record before it counts. Answers with the number.
 */
export async function raiseFence(
  config: Pick<Config, "dataDir" | "checkpointEveryMs">,
  { above, reason, by }: { above: number; reason: string; by: string },
  log: Logger,
): Promise<number> {
  if (!Number.isInteger(above) || above < 1 || above >= MAX_FENCE) {
    throw new BelayError("usage", `--above is a whole number from 1 to ${MAX_FENCE}`, {
      hint: "belayd's log says which number hosts know: `has taken steps under lease N`.",
    });
  }
  if (reason.trim() === "") throw new BelayError("reason-missing", "a fence is raised for a reason");
  const { dataDir, checkpointEveryMs } = config;
  const store = openSqlite(dataDir);
  const audit = await openAudit({ dataDir, now: Date.now, log, checkpointEveryMs });
  try {
    const leases = new LeaseStore(store);
    const before = await leases.newestFence();
    await audit.append({
      who: { name: by, how: "a shell on belayd's machine" },
      from: null,
      action: "fence-raised",
      phase: "done",
      about: { above, reason: reason.slice(0, 2_000) },
      before: { newest: before },
    });
    const { newest } = await leases.raise(above);
    return newest;
  } finally {
    await audit.close();
    await store.close();
  }
}
