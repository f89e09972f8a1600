import { mkdir } from "node:fs/promises";
import type { Logger } from "pino";
import type { AuditLog } from "../audit/log.js";
import { openAudit } from "../audit/room.js";
import { AuditedRuns } from "../audit/runs.js";
import { RefusalTally } from "../audit/tally.js";
import type { Config } from "../config.js";
import { AgentStore } from "../store/agents.js";
import { CopyRecords } from "../store/copies.js";
import { LeaseStore } from "../store/leases.js";
import { PlanStore } from "../store/plans.js";
import { RecordStore } from "../store/records.js";
import { openSqlite, type Store } from "../store/sqlite.js";

/** All that belayd writes down, and that outlives it. */
export interface State {
  readonly store: Store;
  readonly audit: AuditLog;
  readonly refusals: RefusalTally;
  readonly agents: AgentStore;
  readonly records: RecordStore;
  readonly copyRecords: CopyRecords;
  readonly runs: AuditedRuns;
  readonly plans: PlanStore;
  readonly leases: LeaseStore;
  /** For when nobody writes any more. */
  close(): Promise<void>;
}

/** Opens it in <dataDir>, making what is not there. Throws as `openSqlite` and `openAudit`. */
export async function openState(
  { dataDir, checkpointEveryMs }: Pick<Config, "dataDir" | "checkpointEveryMs">,
  now: () => number,
  log: Logger,
): Promise<State> {
  await mkdir(dataDir, { recursive: true, mode: 0o750 });
  const store = openSqlite(dataDir);
  const audit = await openAudit({ dataDir, now, log, checkpointEveryMs });
  const refusals = new RefusalTally(audit, log);
  return {
    store,
    audit,
    refusals,
    agents: new AgentStore(store),
    records: new RecordStore(store),
    copyRecords: new CopyRecords(store),
    runs: new AuditedRuns(store, audit),
    plans: new PlanStore(store),
    leases: new LeaseStore(store),
    async close() {
      await refusals.stop();
      await audit.close();
      await store.close();
    },
  };
}
