import { readFile, stat } from "node:fs/promises";

/**
 * A file that people edit while belayd runs: read when it changed, parsed once, kept until it changes again. A file that
 * has become wrong throws its errors to whoever asks; what was read before stays in `last`.
 */
export class DeclaredFile<T> {
  readonly path: string;
  readonly #parse: (text: string, path: string) => T;
  #last: T | null = null;
  #stamp = "";

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
    return parsed;
  }
}
