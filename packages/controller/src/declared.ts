import { readFile, stat } from "node:fs/promises";
import { setInterval as every } from "node:timers/promises";
import { errorInfo } from "@belay/shared";
import type { Logger } from "pino";

/**
 * A file that people edit while belayd runs: read when it changed, parsed once, kept until it changes again. A file that
 * has become wrong throws its errors to whoever asks; what was read before stays in `last`.
 */
export class DeclaredFile<T> {
  readonly path: string;
  readonly #parse: (text: string, path: string) => T;
  #last: T | null = null;
  #stamp = "";
  #changed: (parsed: T) => void = () => {};

  constructor(path: string, parse: (text: string, path: string) => T) {
    this.path = path;
    this.#parse = parse;
  }

  /** The newest version that could be read, or null. For those who can't wait. */
  get last(): T | null {
    return this.#last;
  }

  async read(): Promise<T> {
    const { mtimeMs, size, ino } = await stat(this.path);
    const stamp = `${mtimeMs}/${size}/${ino}`;
    if (this.#last !== null && stamp === this.#stamp) return this.#last;
    const parsed = this.#parse(await readFile(this.path, "utf8"), this.path);
    this.#last = parsed;
    this.#stamp = stamp;
    this.#changed(parsed);
    return parsed;
  }

  /**
   * Looks at the file now and then until `signal` says stop, and calls `changed` with whatever is newly read from then on,
   * by this watch or by anybody's `read`. A file that has become wrong is a line in the log, once for each thing wrong with it.
   */
  async watch(options: WatchOptions<T>): Promise<void> {
    this.#changed = options.changed;
    let said = "";
    try {
      for await (const _ of every(options.everyMs, undefined, { signal: options.signal, ref: false })) {
        const wrong = await this.read().then(() => "", complaint);
        if (wrong !== said && wrong !== "")
          options.log.warn({ file: this.path, error: wrong }, "the file can't be read");
        said = wrong;
      }
    } catch (error) {
      if (!options.signal.aborted) throw error;
    }
  }
}

export interface WatchOptions<T> {
  readonly everyMs: number;
  readonly changed: (parsed: T) => void;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

function complaint(error: unknown): string {
  return errorInfo(error).message;
}
