import { BelayError } from "@belay/shared";
import { type Needs, shortageAt } from "../facts/disk.js";

/** Throws `backup-no-room` where `dir` has no room for a backup, or for what reads one back. */
export async function needBackupRoom(dir: string, needs: Needs): Promise<void> {
  const shortage = await shortageAt(dir, needs);
  if (shortage === null) return;
  const { of, needed, free } = shortage;
  throw new BelayError("backup-no-room", `a backup takes up to ${needed} ${of} at ${dir}: ${free} are free`, {
    hint: "make room on that disk, or point the variable `backups` elsewhere in fleet.yaml",
    context: { path: dir, of, needed, free },
  });
}
