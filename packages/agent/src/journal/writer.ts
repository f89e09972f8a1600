import { BelayError } from "@belay/shared";
import { isFull } from "../durable.js";
import type { JournalDisk } from "./disk.js";
import { encodeLine, type JournalRecord } from "./record.js";

interface Waiting {
  record: JournalRecord;
  written: () => void;
  lost: (error: unknown) => void;
}

/** Unwritten lazy records beyond this are written anyway, so that memory stays bounded on a quiet host. */
const MAX_LAZY = 256;

/**
 * Appends records durably. Records that arrive while a write is under way form the next group and share its fsync, so
 * the disk's own pace sets the size of a group and nobody waits for a timer.
 */
export class JournalWriter {
  readonly #disk: JournalDisk;
  #size: number;
  #group: number;
  #waiting: Waiting[] = [];
  #lazy: JournalRecord[] = [];
  #writing: Promise<void> | null = null;
  #round: Promise<void> = Promise.resolve();
  #broken: BelayError | null = null;

  constructor(disk: JournalDisk, size: number, lastGroup: number) {
    this.#disk = disk;
    this.#size = size;
    this.#group = lastGroup;
  }

  /**
   * Resolves when the record is on the disk, after `apply` was called. Rejects, with the record not there, when it
   * can't be. `apply` runs before anything else may be written, so that a compaction never misses a fresh record.
   */
  append(record: JournalRecord, apply: () => void): Promise<void> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise((resolve, lost) => {
      const written = () => {
        apply();
        resolve();
      };
      this.#waiting.push({ record, written, lost });
      this.#writing ??= this.#drain();
    });
  }

  /** For what may be lost: it rides along with the next group. */
  appendLazily(record: JournalRecord): void {
    this.#lazy.push(record);
    if (this.#lazy.length >= MAX_LAZY && this.#broken === null) this.#writing ??= this.#drain();
  }

  /**
   * Puts `records` in place of everything written so far. Call only from `betweenGroups`. A full disk leaves the old
   * content whole and in use; the next call tries again.
   */
  async replaceAll(records: JournalRecord[]): Promise<void> {
    // A group for each: all of it is durable at once, so damage to any line of it is damage to something promised.
    const lines = records.map((record, index) => encodeLine(record, this.#group + 1 + index, 0));
    this.#group += records.length;
    const bytes = Buffer.from(lines.join(""));
    try {
      await this.#disk.replace(bytes);
      this.#size = bytes.length;
    } catch (error) {
      if (!isFull(error)) this.#broken = broken(this.#disk.file, error);
    }
  }

  /** Resolves when the group that is being written has ended, well or badly; with a disk that hangs, never. */
  async settled(): Promise<void> {
    await this.#round;
  }

  /** Called after every group, while nothing is being written: the moment to compact. */
  betweenGroups: () => Promise<void> = async () => {};

  async close(): Promise<void> {
    await this.#writing;
    if (this.#lazy.length > 0 && this.#broken === null) await this.#drain();
    await this.#disk.close();
  }

  async #drain(): Promise<void> {
    // Everything of this tick joins the first group.
    await null;
    while (this.#waiting.length > 0 || this.#lazy.length > 0) {
      this.#round = this.#writeGroup();
      await this.#round;
    }
    this.#writing = null;
  }

  async #writeGroup(): Promise<void> {
    const group = this.#waiting;
    const lazy = this.#lazy;
    this.#waiting = [];
    this.#lazy = [];
    try {
      await this.#write([...lazy, ...group.map((each) => each.record)]);
      for (const each of group) each.written();
    } catch (error) {
      for (const each of group) each.lost(error);
    }
    if (this.#broken === null) await this.betweenGroups();
  }

  async #write(records: JournalRecord[]): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    this.#group += 1;
    const bytes = encodeGroup(records, this.#group);
    try {
      await this.#disk.append(bytes);
    } catch (error) {
      await this.#cutBack(error);
      throw error;
    }
    try {
      await this.#disk.sync();
    } catch (error) {
      // After a failed fsync nobody can say what the disk holds, and asking again may wrongly say "fine".
      this.#broken = broken(this.#disk.file, error);
      throw this.#broken;
    }
    this.#size += bytes.length;
  }

  /** A full disk may have taken a part of the group. Cut it off, so that a later group doesn't follow damage. */
  async #cutBack(why: unknown): Promise<void> {
    try {
      await this.#disk.truncate(this.#size);
    } catch {
      this.#broken = broken(this.#disk.file, why);
    }
  }
}

function encodeGroup(records: JournalRecord[], group: number): Buffer {
  return Buffer.from(records.map((record, index) => encodeLine(record, group, index)).join(""));
}

function broken(file: string, cause: unknown): BelayError {
  return new BelayError("journal-broken", `${file} can't be written: ${(cause as Error).message}`, {
    hint: "look at the disk, then restart belay-agent; it does nothing until then",
    context: { file },
    cause,
  });
}
