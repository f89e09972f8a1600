import type { BackupView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { bytes, dateTime } from "../render/measure.js";
import { listing } from "../render/text.js";

interface ListOptions {
  readonly host?: string;
  readonly run?: string;
}

export const backupList: CommandSpec<ListOptions> = {
  name: "list",
  summary: "list the backups that runs made",
  options: [
    { flags: "--host <host>", about: "only of this host" },
    { flags: "--run <run>", about: "only of this run" },
  ],
  examples: ["belay backup list", "belay backup list --host auth-1 --json"],
  async run(session, filter) {
    const { api } = await session.connect();
    session.answer(await api.backups(filter), backupListing);
    return EXIT.ok;
  },
};

export function backupListing(backups: readonly BackupView[]): string[] {
  return listing(
    ["HOST", "BACKUP", "OF", "SIZE", "ITEMS", "TAKEN", "VERIFIED", "COPY", "SHA256"],
    backups.map((backup) => [
      backup.host,
      backup.backup,
      backup.version ?? "-",
      bytes(backup.bytes),
      String(backup.items),
      dateTime(backup.takenAt),
      verifiedOf(backup),
      copyOf(backup),
      backup.sha256.slice(0, 12),
    ]),
    "no backup yet",
  );
}

function verifiedOf({ verifiedAt, prunedAt }: BackupView): string {
  if (prunedAt !== null) return "pruned";
  return verifiedAt === null ? "never" : dateTime(verifiedAt);
}

/** Where else it is: `belayd`, said so only when it was read back from there. */
function copyOf({ copies }: BackupView): string {
  const [newest] = copies;
  if (newest === undefined) return "none";
  const whole = copies.some(({ verifiedAt }) => verifiedAt !== null) ? "" : ", not read back";
  return `belayd${newest.encrypted ? ", encrypted" : ""}${whole}`;
}
