import { readFile } from "node:fs/promises";
import { orMissing } from "../durable.js";
import { isInGroup } from "./proc.js";

export interface MainProcess {
  pid: number | null;
  /** How PID file and main process disagree, in words; null: they don't. */
  ailment: string | null;
}

/**
 * Which process is the service. After a HUP, systemd goes on naming the old process for as long as that drains, which may
 * be hours; it takes up the successor from the PID file when the old one ends (docs/decisions/0010). So a live process of
 * the unit's own control group that the PID file names is the main one, whatever MainPID says; any other is stale.
 */
export async function mainProcess(known: { mainPid: number; pidFile: string; group: string }): Promise<MainProcess> {
  const { mainPid, pidFile, group } = known;
  if (!(mainPid > 0)) return { pid: null, ailment: null };
  if (pidFile === "") return { pid: mainPid, ailment: null };
  const text = await orMissing(readFile(pidFile, "utf8"));
  if (text === null) return { pid: mainPid, ailment: `its PID file ${pidFile} is not there` };
  const named = /^[1-9][0-9]{0,9}\s*$/.test(text) ? Number(text) : null;
  if (named === mainPid) return { pid: mainPid, ailment: null };
  if (named !== null && (await isInGroup(named, group))) return { pid: named, ailment: null };
  const says = named === null ? "no PID" : `PID ${named}, which is no process of it`;
  return { pid: mainPid, ailment: `its PID file ${pidFile} is stale: it says ${says}, and ${mainPid} is the main one` };
}
