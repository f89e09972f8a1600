import type { BackupView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { labelled } from "../render/label.js";
import { bytes, dateTime } from "../render/measure.js";
import { table } from "../render/text.js";

export const backupShow: CommandSpec = {
  name: "show <host> <backup>",
  summary: "show all that is known of a backup, and where copies of it are",
  examples: ["belay backup show auth-1 20261123-201500-3f9c7a04b1.hop-1.auth-1"],
  async run(session, _options, [host = "", backup = ""]) {
    const { api } = await session.connect();
    session.answer(await api.backup(host, backup), backupLines);
    return EXIT.ok;
  },
};

export function backupLines(backup: BackupView): string[] {
  return [
    `${backup.backup}  of ${backup.host}`,
    ...labelled("made by", [backup.version ?? "a version that nobody knows"]),
    ...labelled("taken", [`${dateTime(backup.takenAt)} in ${backup.hop} of run ${backup.run}`]),
    ...labelled("holds", [`${backup.items} items, ${bytes(backup.bytes)}, sha256 ${backup.sha256}`]),
    ...labelled("read back", [readBack(backup.verifiedAt)]),
    ...(backup.prunedAt === null
      ? []
      : labelled("pruned", [`${dateTime(backup.prunedAt)}: its host has it no longer`])),
    ...labelled("copies", backup.copies.length === 0 ? [withoutCopies(backup)] : table(copyRows(backup))),
  ];
}

function withoutCopies({ prunedAt }: BackupView): string {
  return prunedAt === null ? "none: it is on its host alone" : "none";
}

function copyRows({ copies }: BackupView): string[][] {
  return copies.map((copy) => [
    "belayd",
    bytes(copy.bytes),
    copy.encrypted ? "encrypted" : "NOT ENCRYPTED",
    `stored ${dateTime(copy.at)}`,
    `read back ${readBack(copy.verifiedAt)}`,
    `sha256 ${copy.sha256.slice(0, 12)}`,
  ]);
}

function readBack(at: number | null): string {
  return at === null ? "never" : dateTime(at);
}
