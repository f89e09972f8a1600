import { type Readable, Transform } from "node:stream";
import { bytes } from "./render/measure.js";
import type { Session } from "./session.js";

const REDRAW_EVERY_MS = 100;

/** How far a file is, on one line of a terminal's stderr that is gone at the end. Elsewhere it says nothing. */
export class Progress {
  readonly #session: Session;
  readonly #what: string;
  readonly #total: number;
  #done = 0;
  #drawnAt = 0;

  constructor(session: Session, what: string, total: number) {
    this.#session = session;
    this.#what = what;
    this.#total = total;
  }

  /** The same bytes, counted as they pass. */
  through(source: Readable): Readable {
    const counted = new Transform({
      transform: (chunk: Buffer, _encoding, next) => {
        this.#add(chunk.length);
        next(null, chunk);
      },
    });
    source.once("error", (error) => counted.destroy(error));
    counted.once("close", () => source.destroy());
    return source.pipe(counted);
  }

  /** Idempotent. */
  end(): void {
    if (this.#drawnAt > 0) this.#session.outside.err.write("\r\x1b[K");
    this.#drawnAt = 0;
  }

  #add(count: number): void {
    this.#done += count;
    const { err, now } = this.#session.outside;
    if (this.#session.json || !err.isTty || now() - this.#drawnAt < REDRAW_EVERY_MS) return;
    this.#drawnAt = now();
    const percent = this.#total === 0 ? 100 : Math.floor((100 * this.#done) / this.#total);
    err.write(`\r${this.#what}  ${bytes(this.#done)} of ${bytes(this.#total)}  ${percent} %\x1b[K`);
  }
}
