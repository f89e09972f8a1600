import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { BelayError } from "@belay/shared";
import { syncPath } from "../durable.js";

/**
 * Entries on their way into the log: acknowledged, but under no checkpoint yet. One a line:
 *
 *     <crc32 of the rest, 8 hex digits> <group>.<index> <the entry>
 *
 * A group is what was written and fsynced together: a torn last one was promised to nobody and is cut off; damage to anything
 * before it is refused.
 */
export class Pending {
  readonly #handle: FileHandle;
  readonly #file: string;
  #size: number;
  #group: number;
  #broken: BelayError | null = null;

  private constructor(handle: FileHandle, file: string, size: number, group: number) {
    this.#handle = handle;
    this.#file = file;
    this.#size = size;
    this.#group = group;
  }

  /** Opens the file, making it where there is none, with what is in it. Throws `audit-damaged`. */
  static async open(file: string): Promise<{ readonly pending: Pending; readonly entries: readonly Buffer[] }> {
    const handle = await open(file, "a+", 0o640);
    try {
      await syncPath(dirname(file));
      const { entries, goodBytes, lastGroup } = decode(await handle.readFile(), file);
      await handle.truncate(goodBytes);
      await handle.sync();
      return { pending: new Pending(handle, file, goodBytes, lastGroup), entries };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Settles when all of them are on disk. Rejects with none of them there: a full disk is no damage. */
  async append(entries: readonly Buffer[]): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    this.#group += 1;
    const bytes = Buffer.concat(entries.map((entry, index) => encodeLine(entry, this.#group, index)));
    try {
      await this.#handle.appendFile(bytes);
    } catch (error) {
      await this.#handle.truncate(this.#size).catch((worse: unknown) => this.#break(worse));
      throw error;
    }
    try {
      await this.#handle.datasync();
    } catch (error) {
      // After a failed fsync nobody can say what the disk holds, and asking again may wrongly say "fine".
      throw this.#break(error);
    }
    this.#size += bytes.length;
  }

  /** All of it is under a checkpoint that is on disk. */
  async clear(): Promise<void> {
    await this.#handle.truncate(0);
    await this.#handle.datasync();
    this.#size = 0;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  #break(cause: unknown): BelayError {
    this.#broken = new BelayError("audit-broken", `${this.#file} can't be written: ${(cause as Error).message}`, {
      hint: "Look at the disk, then restart belayd: nothing is done that can't be put on record.",
      cause,
    });
    return this.#broken;
  }
}

function encodeLine(entry: Buffer, group: number, index: number): Buffer {
  const rest = Buffer.concat([Buffer.from(`${group}.${index} `), entry]);
  return Buffer.concat([Buffer.from(`${checksum(rest)} `), rest, Buffer.from("\n")]);
}

/** What is in such a file. Throws `audit-damaged`. */
export function readPending(bytes: Buffer, file: string): readonly Buffer[] {
  return decode(bytes, file).entries;
}

function decode(bytes: Buffer, file: string): { entries: Buffer[]; goodBytes: number; lastGroup: number } {
  const entries: Buffer[] = [];
  let goodBytes = 0;
  let lastGroup = 0;
  let damaged = false;
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    const line = newline === -1 ? null : decodeLine(bytes.subarray(start, end));
    start = end + 1;
    if (line === null) {
      damaged = true;
      continue;
    }
    if (damaged) {
      // Index 0 begins a group, and a group begins only after the one before it was synced: the damage is old.
      if (line.index === 0) throw damage(file);
      continue;
    }
    entries.push(line.entry);
    lastGroup = line.group;
    goodBytes = start;
  }
  return { entries, goodBytes, lastGroup };
}

function decodeLine(line: Buffer): { entry: Buffer; group: number; index: number } | null {
  const [head, sum, group, index] = /^([0-9a-f]{8}) ([0-9]+)\.([0-9]+) /.exec(line.toString("latin1", 0, 64)) ?? [];
  if (head === undefined || checksum(line.subarray(9)) !== sum) return null;
  return { entry: line.subarray(head.length), group: Number(group), index: Number(index) };
}

function checksum(bytes: Buffer): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}

function damage(file: string): BelayError {
  return new BelayError("audit-damaged", `${file} is damaged, and not only in what was written last`, {
    hint: "Look at what the disk did. docs/audit.md says how a new log is begun, with this one kept.",
    context: { file },
  });
}
