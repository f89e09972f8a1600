import type { Duplex } from "node:stream";
import { createGunzip } from "node:zlib";
import { unreadable } from "./archive-entry.js";
import type { BelayError } from "./error.js";

const BLOCK = 512;
/** Unzipped into small pieces, handling them takes longer than unzipping. */
const PIECE_BYTES = 512 * 1024;
const ZERO = Buffer.alloc(BLOCK);
const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** The little that is needed of a tar parser; it says `error`, `eof` at the archive's end, and `end` when all is read. */
export interface ArchiveParser {
  write(piece: Buffer): boolean;
  end(): unknown;
  on(event: "error", heard: (error: Error) => void): unknown;
  once(event: "drain" | "eof" | "end", heard: () => void): unknown;
}

/**
 * Gives a parser an archive to read, up to its end and nothing behind it. `stop` aborts when there is no use in reading on;
 * its reason is thrown. Throws `artifact-unreadable`, and what the blocks throw.
 */
export async function parse(parser: ArchiveParser, blocks: AsyncIterable<Buffer>, stop: AbortSignal): Promise<void> {
  let ended = false;
  parser.once("eof", () => {
    ended = true;
  });
  const broken = new AbortController();
  parser.on("error", (error) => broken.abort(unreadable(error.message, error)));
  const over = AbortSignal.any([stop, broken.signal]);
  const said = (event: "drain" | "end") =>
    new Promise<void>((resolve, reject) => {
      const giveUp = () => reject(over.reason);
      over.addEventListener("abort", giveUp, { once: true });
      parser.once(event, () => {
        over.removeEventListener("abort", giveUp);
        resolve();
      });
    });
  for await (const piece of blocks) {
    over.throwIfAborted();
    if (ended) {
      if (!isZero(piece)) throw unreadable("something follows after its end");
    } else if (!parser.write(piece)) {
      over.throwIfAborted();
      await said("drain");
    }
  }
  over.throwIfAborted();
  const read = said("end");
  parser.end();
  await read;
  over.throwIfAborted();
  if (!ended) throw unreadable("it has no end, as if it were cut");
}

/**
 * The bytes of an archive, unzipped if they are zipped, in whole blocks, and no more of them than `maxBytes`. The archive may
 * use a piece's memory again for the next one. Throws `artifact-unreadable`, what `tooLong` makes, and what the archive's own
 * stream throws.
 */
export async function* blocksOf(
  archive: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLong: () => BelayError,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  const blocks = new Blocks();
  const zeros = { run: 0 };
  for await (const piece of unzipped(archive)) {
    if (bytes === 0 && isPacked(piece)) throw unreadable("what is in its compression is compressed again");
    bytes += piece.length;
    if (bytes > maxBytes) throw tooLong();
    for (const whole of blocks.take(piece)) yield* cutWhereItMayEnd(whole, zeros);
  }
  if (blocks.left > 0) throw unreadable(`its last block has ${blocks.left} bytes`);
}

/** Cuts pieces of any size into whole blocks. */
class Blocks {
  #rest: Buffer = Buffer.alloc(0);

  /** How many bytes wait for the rest of their block. */
  get left(): number {
    return this.#rest.length;
  }

  /** What is whole now. Only a block that two pieces share is put together: the pieces are large. */
  take(piece: Buffer): Buffer[] {
    const whole: Buffer[] = [];
    let from = 0;
    if (this.#rest.length > 0) {
      from = BLOCK - this.#rest.length;
      this.#rest = Buffer.concat([this.#rest, piece.subarray(0, from)]);
      if (this.#rest.length < BLOCK) return whole;
      whole.push(this.#rest);
    }
    const until = piece.length - ((piece.length - from) % BLOCK);
    if (until > from) whole.push(piece.subarray(from, until));
    this.#rest = piece.subarray(until);
    return whole;
  }
}

/**
 * An archive ends with two blocks of zeros: a cut behind each such pair, and before what comes after zeros, shows apart what
 * follows the end. `zeros` is the number of blocks of zeros at the end of what came before.
 */
function* cutWhereItMayEnd(blocks: Buffer, zeros: { run: number }): Generator<Buffer> {
  let from = 0;
  for (let at = 0; at < blocks.length; at += BLOCK) {
    // The first byte tells of nearly every block, and there are two thousand in a mebibyte.
    const zero = blocks[at] === 0 && blocks.subarray(at, at + BLOCK).equals(ZERO);
    const cut = zero ? (zeros.run === 1 ? at + BLOCK : from) : zeros.run >= 2 ? at : from;
    zeros.run = zero ? zeros.run + 1 : 0;
    if (cut === from) continue;
    yield blocks.subarray(from, cut);
    from = cut;
  }
  if (from < blocks.length) yield blocks.subarray(from);
}

function isZero(blocks: Buffer): boolean {
  for (let at = 0; at < blocks.length; at += BLOCK) {
    if (blocks[at] !== 0 || !blocks.subarray(at, at + BLOCK).equals(ZERO)) return false;
  }
  return true;
}

async function* unzipped(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const pieces = archive[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    while (head.length < ZSTD.length) {
      const next = await pieces.next();
      if (next.done) break;
      head = Buffer.concat([head, next.value]);
    }
    const whole = (async function* () {
      yield head;
      for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield bufferOf(next.value);
    })();
    if (head.subarray(0, GZIP.length).equals(GZIP)) yield* gunzipped(whole);
    // What reads the blocks may still hold the last when it asks for the next.
    else for await (const piece of whole) yield Buffer.from(piece);
  } finally {
    await pieces.return?.();
  }
}

async function* gunzipped(zipped: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  let fed = 0;
  const feeding = (async () => {
    for await (const piece of zipped) {
      fed += piece.length;
      // Not a pipeline: that asks for the next piece, and so gives this one up, while it is still being unzipped.
      if (!(await taken(gunzip, piece))) return;
    }
    gunzip.end();
  })();
  // What the archive's own stream throws is told by the loop below.
  feeding.catch((error: Error) => gunzip.destroy(error));
  try {
    for await (const piece of gunzip) yield piece as Buffer;
    await feeding;
  } catch (error) {
    if (!(error as NodeJS.ErrnoException).code?.startsWith("Z_")) throw error;
    throw unreadable((error as Error).message, error);
  }
  // Zlib says nothing of what it finds behind the end of what it unzips.
  if (gunzip.bytesWritten !== fed) throw unreadable(`${fed - gunzip.bytesWritten} bytes follow its end`);
}

/** Resolves when nothing of the piece is needed any more; false: no more is taken, because it is at its end or nobody reads it. */
function taken(by: Duplex, piece: Buffer): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // A stream that is over calls nobody back for what it is busy with.
    const over = (error: Error | null) => (error === null || by.readableEnded ? resolve(false) : reject(error));
    const closed = () => over(by.errored);
    by.once("close", closed);
    by.write(piece, (error) => {
      by.off("close", closed);
      if (error === null || error === undefined) resolve(true);
      else over(error);
    });
  });
}

/** The same bytes, not a copy of them. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isPacked(piece: Buffer): boolean {
  return [GZIP, ZSTD].some((magic) => piece.subarray(0, magic.length).equals(magic));
}
