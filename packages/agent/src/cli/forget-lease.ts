import { randomUUID } from "node:crypto";
import type { JournalDisk } from "../journal/disk.js";
import { Journal } from "../journal/journal.js";

/** The way out when a number that nobody should have given out got here: no belayd could lead this host any more. */
export async function forgetLease(disk: JournalDisk, now: number): Promise<string> {
  const journal = await Journal.open(disk, { id: randomUUID, now });
  try {
    const { fence } = journal;
    await journal.forgetLease(now);
    return `forgot lease ${fence}\n`;
  } finally {
    await journal.close();
  }
}
