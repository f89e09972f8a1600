import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { BelayError, blocksOf } from "@belay/shared";
import t from "tap";

const BLOCK = 512;
const NO_LIMIT = Number.POSITIVE_INFINITY;
const tooLong = () => new BelayError("artifact-too-large", "too large");

/** In pieces of this size, which all lie in the same memory, one after the other. */
async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  const memory = Buffer.alloc(size);
  for (let from = 0; from < bytes.length; from += size) {
    const length = bytes.copy(memory, 0, from, from + size);
    yield memory.subarray(0, length);
    memory.fill(0xee);
  }
}

async function whole(archive: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const blocks: Buffer[] = [];
  for await (const block of blocksOf(archive, NO_LIMIT, tooLong)) {
    if (block.length === 0 || block.length % BLOCK !== 0) throw new Error(`${block.length} bytes are no blocks`);
    blocks.push(block);
  }
  return Buffer.concat(blocks);
}

t.test(
  "whole blocks come out of pieces of any size, zipped or not, also where the pieces share their memory",
  async (t) => {
    const archive = Buffer.concat([randomBytes(20 * BLOCK), Buffer.alloc(2 * BLOCK), randomBytes(3 * BLOCK)]);
    const zipped = gzipSync(archive);
    for (const size of [1, 7, 100, 511, 512, 513, 700, 1024, 1500, 100_000]) {
      t.ok((await whole(inPieces(archive, size))).equals(archive), `${size} bytes`);
      t.ok((await whole(inPieces(zipped, size))).equals(archive), `${size} bytes, zipped`);
    }
    const large = randomBytes(3 * 1024 * 1024);
    t.ok(
      (await whole(inPieces(gzipSync(large, { level: 0 }), 256 * 1024))).equals(large),
      "more than one piece unzipped",
    );
  },
);

t.test("what is no whole block, is cut, or follows the end is said, and nobody waits for it", async (t) => {
  const archive = randomBytes(10 * BLOCK);
  const zipped = gzipSync(archive);
  for (const size of [3, 512, 5_000]) {
    const broken: readonly [string, Buffer][] = [
      ["odd", archive.subarray(1)],
      ["odd, zipped", gzipSync(archive.subarray(1))],
      ["cut", zipped.subarray(0, -20)],
      ["damaged", Buffer.concat([zipped.subarray(0, 2_000), Buffer.alloc(50, 0xff), zipped.subarray(2_050)])],
      ["followed", Buffer.concat([zipped, Buffer.from("more of it")])],
      ["followed by zeros, which zlib would pass over", Buffer.concat([zipped, Buffer.alloc(30)])],
    ];
    for (const [what, bytes] of broken) {
      await t.rejects(whole(inPieces(bytes, size)), { code: "artifact-unreadable" }, `${what}, by ${size}`);
    }
  }
});

t.test("what the archive's own stream throws comes through, and whoever stops reading ends it", async (t) => {
  const failing = async function* () {
    yield gzipSync(randomBytes(BLOCK)).subarray(0, 100);
    throw new BelayError("download-cut", "the line is dead");
  };
  await t.rejects(whole(failing()), { code: "download-cut" });
  let ended = false;
  const long = async function* () {
    const zipped = gzipSync(randomBytes(8 * 1024 * 1024));
    try {
      for (let from = 0; from < zipped.length; from += 65_536) yield zipped.subarray(from, from + 65_536);
    } finally {
      ended = true;
    }
  };
  for await (const block of blocksOf(long(), NO_LIMIT, tooLong)) {
    t.ok(block.length > 0);
    break;
  }
  t.ok(ended);
});
