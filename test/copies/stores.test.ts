import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { BackupStoreConfig } from "@belay/controller/config-store";
import { openCopyStore } from "@belay/controller/copies/open";
import { S3Store } from "@belay/controller/copies/s3";
import type { CopyStore } from "@belay/controller/copies/store";
import { BelayError } from "@belay/shared";
import t, { type Test } from "tap";
import { BUCKET, S3Server } from "../support/s3.js";

const MIB = 1024 * 1024;

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "belay-copies-"));
  t.teardown(() => rm(dir, { recursive: true }));
  return dir;
}

const inFolder = (dir: string, minFreeBytes = 0): BackupStoreConfig => ({
  kind: "folder",
  dir,
  maxBytes: 100 * MIB,
  minFreeBytes,
});

const inBucket = ({ endpoint, credentialsFile }: S3Server, more: object = {}): BackupStoreConfig => ({
  kind: "s3",
  endpoint,
  region: "us-east-1",
  bucket: BUCKET,
  prefix: "belay/",
  credentialsFile,
  pathStyle: true,
  maxBytes: 100 * MIB,
  ...more,
});

/** What a sender gives: in pieces, and only as fast as they are taken. */
function* pieces(bytes: Buffer, piece = 64 * 1024): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
}

const stream = (bytes: Buffer) => Readable.from(pieces(bytes), { objectMode: false });
const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error === null) return "it worked";
  return error instanceof BelayError ? error.code : String(error);
}

/** What any store of copies keeps to. */
async function keepsItsWord(t: Test, store: CopyStore): Promise<void> {
  t.equal(await store.get("auth-1/a.tar"), null, "nothing there yet");
  // Several parts of an upload in parts, and an end that is no whole one.
  const large = randomBytes(37 * MIB + 123);
  await store.put("auth-1/a.tar", stream(large));
  const back = await store.get("auth-1/a.tar");
  t.equal(digest(await buffer(back as Readable)), digest(large), "the same bytes come back");

  const small = Buffer.from("other");
  await store.put("auth-1/a.tar", stream(small));
  t.same(await buffer((await store.get("auth-1/a.tar")) as Readable), small, "the last put counts");

  async function* broken(): AsyncGenerator<Buffer> {
    yield randomBytes(20 * MIB);
    throw new BelayError("copy-too-large", "too large");
  }
  t.equal(await codeOf(store.put("auth-1/a.tar", Readable.from(broken(), { objectMode: false }))), "copy-too-large");
  t.same(await buffer((await store.get("auth-1/a.tar")) as Readable), small, "half a copy replaces nothing");
  t.equal(await codeOf(store.put("auth-1/b.tar", Readable.from(broken(), { objectMode: false }))), "copy-too-large");
  t.equal(await store.get("auth-1/b.tar"), null, "half a copy is none");

  await store.remove("auth-1/a.tar");
  await store.remove("auth-1/a.tar");
  t.equal(await store.get("auth-1/a.tar"), null);
}

t.test("a folder keeps its word", async (t) => {
  const dir = await folder(t);
  await keepsItsWord(t, await openCopyStore(inFolder(dir)));
  t.same(await readdir(join(dir, "auth-1")), [], "nothing is left behind");
});

t.test("a folder forgets what a crash left half-way, and nothing else", async (t) => {
  const dir = await folder(t);
  const store = await openCopyStore(inFolder(dir));
  await store.put("auth-1/a.tar", stream(Buffer.from("whole")));
  await writeFile(join(dir, "auth-1", "b.tar.1.partial"), "half");
  await store.sweep();
  t.same(await readdir(join(dir, "auth-1")), ["a.tar"]);
});

t.test("a folder leaves the room that it was told to leave", async (t) => {
  const dir = await folder(t);
  const store = await openCopyStore(inFolder(dir, Number.MAX_SAFE_INTEGER));
  t.equal(await codeOf(store.put("auth-1/a.tar", stream(Buffer.from("x")))), "copy-store-full");
  t.same(await readdir(join(dir, "auth-1")), []);
});

t.test("object storage keeps its word", async (t) => {
  await keepsItsWord(t, await openCopyStore(inBucket(await S3Server.open(t))));
});

t.test("object storage that refuses or is away says so, and no error holds a secret", async (t) => {
  const server = await S3Server.open(t);
  const wrong = join(server.dir, "wrong");
  const secret = "not-the-secret-of-this-server";
  await writeFile(wrong, `[default]\naws_access_key_id = S3RVER\naws_secret_access_key = ${secret}\n`, { mode: 0o600 });
  const refused: unknown[] = [];
  for (const more of [{ credentialsFile: wrong }, { bucket: "no-such-bucket" }]) {
    const store = await openCopyStore(inBucket(server, more));
    for (const bytes of [MIB, 20 * MIB]) {
      const error = await store.put("a/b.tar", stream(randomBytes(bytes))).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      t.match(error, { code: "copy-store-refused" });
      refused.push(error);
    }
  }
  const store = await openCopyStore(inBucket(server));
  await server.stop();
  t.equal(await codeOf(store.put("a/b.tar", stream(randomBytes(MIB)))), "copy-store-unreachable");
  t.equal(await codeOf(store.get("a/b.tar")), "copy-store-unreachable");
  t.equal(await codeOf(store.remove("a/b.tar")), "copy-store-unreachable");
  t.notMatch(JSON.stringify(refused), new RegExp(`${secret}|Signature=`));
});

t.test("object storage that takes connections and says nothing is away, after a while", async (t) => {
  const taken = new Set<Socket>();
  const silent = createServer((socket) => taken.add(socket.on("error", () => {})));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.teardown(() => {
    for (const socket of taken) socket.destroy();
    silent.close();
  });
  const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const place = { endpoint, region: "us-east-1", bucket: BUCKET, prefix: "belay/", pathStyle: true };
  const store = new S3Store(place, { accessKeyId: "key", secretAccessKey: "secret" }, 100);
  const codes = await Promise.all([
    codeOf(store.get("auth-1/a.tar")),
    codeOf(store.remove("auth-1/a.tar")),
    codeOf(store.put("auth-1/a.tar", stream(randomBytes(MIB)))),
    codeOf(store.put("auth-1/b.tar", stream(randomBytes(37 * MIB)))),
  ]);
  t.same(codes, Array(4).fill("copy-store-unreachable"));
  t.ok(taken.size >= codes.length, "each of them had a connection");
});

t.test("keys that everybody can read are not used, and no error says what a file holds", async (t) => {
  const dir = await folder(t);
  const credentialsFile = join(dir, "keys");
  const config = inBucket({ endpoint: "http://127.0.0.1:1", credentialsFile } as S3Server);
  t.equal(await codeOf(openCopyStore(config)), "credentials-unreadable");
  await writeFile(credentialsFile, "aws_access_key_id = hush\nsecret = hush-hush\n");
  await chmod(credentialsFile, 0o644);
  t.equal(await codeOf(openCopyStore(config)), "credentials-exposed");
  await chmod(credentialsFile, 0o640);
  const error = await openCopyStore(config).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  t.match(error, { code: "credentials-unreadable" });
  t.notMatch(JSON.stringify(error), /hush/);
});
