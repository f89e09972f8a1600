import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { Gathering } from "@belay/agent";
import t from "tap";

const MIB = 1024 * 1024;

/** A file that takes at most so much at a time, and a disk that fails when it is asked to keep it. */
function fileOn(disk: { readonly error?: Error }, most = Number.POSITIVE_INFINITY) {
  const taken: Buffer[] = [];
  const file = {
    async writev(pieces: Uint8Array[]) {
      const part = Buffer.concat(pieces).subarray(0, most);
      taken.push(part);
      return { bytesWritten: part.length };
    },
    async datasync() {
      if (disk.error !== undefined) throw disk.error;
    },
  };
  return { file: file as unknown as FileHandle, written: () => Buffer.concat(taken) };
}

t.test("what comes in pieces is written and hashed whole, however little is taken at a time", async (t) => {
  const pieces = [1, MIB - 1, 7, 3 * MIB + 5].map((size, index) => Buffer.alloc(size, index + 1));
  const whole = Buffer.concat(pieces);
  const { file, written } = fileOn({}, 100_000);
  const hash = createHash("sha256");
  const gathering = new Gathering(file, hash, { bytes: whole.length, syncs: true });
  for (const piece of pieces) await gathering.add(piece);
  await gathering.flush();
  t.ok(written().equals(whole));
  t.equal(hash.digest("hex"), createHash("sha256").update(whole).digest("hex"));
});

t.test("a system that takes nothing is not asked for ever", async (t) => {
  const { file } = fileOn({}, 0);
  const gathering = new Gathering(file, createHash("sha256"), { bytes: MIB });
  await t.rejects(async () => gathering.add(Buffer.alloc(MIB)), /takes no byte/);
});

t.test("a disk that failed once is heard of, though a later fsync would succeed", async (t) => {
  const disk: { error?: Error } = { error: Object.assign(new Error("lost"), { code: "EIO" }) };
  const { file } = fileOn(disk);
  const gathering = new Gathering(file, createHash("sha256"), { bytes: 20 * MIB, syncs: true });
  for (let mebibyte = 0; mebibyte < 10; mebibyte += 1) await gathering.add(Buffer.alloc(MIB));
  delete disk.error;
  for (let mebibyte = 0; mebibyte < 10; mebibyte += 1) await gathering.add(Buffer.alloc(MIB));
  await t.rejects(gathering.flush(), { code: "EIO" });
});
