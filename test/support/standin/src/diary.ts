import { appendFileSync } from "node:fs";
import { join } from "node:path";

/** One line of `<data_dir>/starts.jsonl`. Tests count these to see that no effect was repeated. */
export interface DiaryLine {
  readonly event: "start" | "ready" | "stop" | "refused" | "crash";
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Of a start: `start` or `fork`. Of anything else: why, in words. */
  readonly reason: string;
}

/** The process's own record of its life. Appends are single writes, so lines of a fork and its parent never mix. */
export class Diary {
  readonly #file: string;
  readonly #version: string;

  constructor(dataDir: string, version: string) {
    this.#file = join(dataDir, "starts.jsonl");
    this.#version = version;
  }

  write(event: DiaryLine["event"], reason: string): void {
    const line: DiaryLine = { event, version: this.#version, pid: process.pid, at: Date.now(), reason };
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}
