import { join } from "node:path";
import type { Logger } from "pino";
import { AuditLog } from "./log.js";

/** Opens belayd's audit log where it lies: <dataDir>/audit, its key beside it, so that the folder can be copied without. */
export function openAudit(options: {
  dataDir: string;
  now: () => number;
  log: Logger;
  checkpointEveryMs: number;
}): Promise<AuditLog> {
  const { dataDir, ...more } = options;
  return AuditLog.open({ dir: join(dataDir, "audit"), keyFile: join(dataDir, "audit.key"), ...more });
}
