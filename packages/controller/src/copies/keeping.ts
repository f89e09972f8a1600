import { errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { BackupPolicy } from "../inventory/fleet.js";
import type { CopyRecords, CopyRow } from "../store/copies.js";
import type { RecordStore } from "../store/records.js";
import type { Copies } from "./copies.js";
import { copiesToDrop } from "./keep.js";

const DAY_MS = 86_400_000;

export interface KeepingParts {
  readonly copies: Copies;
  readonly copyRecords: CopyRecords;
  readonly records: RecordStore;
  readonly policy: () => Promise<BackupPolicy>;
  /** Backups that a run which has not ended may still have to put back. */
  readonly needed: () => Promise<
    (backup: { readonly host: string; readonly backup: string; readonly run: string | null }) => boolean
  >;
  readonly now: () => number;
  readonly log: Logger;
}

/** Lets go of copies that policy no longer keeps: at the end of each run, and once a day. */
export class Keeping {
  readonly #parts: KeepingParts;
  #timer: NodeJS.Timeout | null = null;
  #going: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: KeepingParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tidy(), DAY_MS);
  }

  /** Settles when nothing is being removed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#going;
  }

  /** One at a time. A store that is away is tried again the next time; nothing waits for it. */
  tidy(): Promise<void> {
    this.#going = this.#going
      .then(() => this.#tidy())
      .catch((error: unknown) => {
        this.#parts.log.error({ error: errorInfo(error) }, "cannot tidy up copies of backups; trying again in a day");
      });
    return this.#going;
  }

  async #tidy(): Promise<void> {
    const { copies, copyRecords, records, policy, needed, now, log } = this.#parts;
    const there = await copyRecords.all();
    if (there.length === 0) return;
    const known = new Map((await records.backups({})).map((one) => [`${one.host} ${one.backup}`, one]));
    // A copy whose backup is not on record is of a step that has not ended, or never will: it counts by its own age.
    const dated = there.map((copy) => {
      const backup = known.get(`${copy.host} ${copy.backup}`);
      return { ...copy, takenAt: backup?.takenAt ?? copy.at, run: backup?.run ?? null };
    });
    const isNeeded = await needed();
    for (const copy of copiesToDrop(dated, await policy(), isNeeded, now())) {
      if (this.#stopped) return;
      await copies.drop(copy);
      log.info({ ...named(copy), ageMs: now() - copy.takenAt }, "a copy of a backup is kept no longer");
    }
  }
}

function named({ host, backup, key, bytes }: CopyRow): object {
  return { host, backup, key, bytes };
}
