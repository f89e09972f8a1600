import { readFileSync } from "node:fs";
import type { JournalDisk } from "@belay/agent";

/** What a journal's disk has promised, noted where no power cut reaches. */
export class JournalTruth {
  readonly #file: string;
  #promised: Buffer = Buffer.alloc(0);
  #replacing: Buffer | null = null;
  #appended: Buffer[] = [];
  /** After the cut nothing counts as promised: nobody could have heard it. */
  off = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** A disk that notes what it promises. */
  watch(disk: JournalDisk): JournalDisk {
    this.#appended = [];
    const note = (work: () => void) => {
      if (!this.off) work();
    };
    return {
      file: disk.file,
      read: () => disk.read(),
      truncate: (bytes) => disk.truncate(bytes),
      close: () => disk.close(),
      append: async (bytes) => {
        await disk.append(bytes);
        note(() => this.#appended.push(bytes));
      },
      sync: async () => {
        await disk.sync();
        note(() => {
          this.#promised = Buffer.concat([this.#promised, ...this.#appended]);
          this.#appended = [];
        });
      },
      replace: async (bytes) => {
        note(() => {
          this.#replacing = bytes;
        });
        await disk.replace(bytes);
        note(() => {
          this.#promised = bytes;
          this.#replacing = null;
        });
      },
    };
  }

  /** After a power cut, before anybody opens it: is all that was promised there? What is wrong, or null. */
  ailment(): string | null {
    if (this.#promised.length === 0) return null;
    const found = readFileSync(this.#file);
    const replaced = this.#replacing;
    this.#replacing = null;
    if (replaced !== null && found.subarray(0, replaced.length).equals(replaced)) {
      this.#promised = replaced;
      return null;
    }
    if (found.subarray(0, this.#promised.length).equals(this.#promised)) {
      // Whole records beyond the promise may be there; the agent keeps them, so from now on they count.
      this.#promised = found;
      return null;
    }
    return `${this.#file} holds ${found.length} bytes, not the ${this.#promised.length} that were promised`;
  }

  /** What its opening cut off as torn was no promise. */
  opened(): void {
    this.#promised = readFileSync(this.#file);
  }
}
