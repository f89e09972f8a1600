import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { BackupItem, BackupResult, Op, OpOf, Outcome, StoredCopy } from "@belay/shared";
import t, { type Test } from "tap";
import { create, list } from "tar";
import { flipByte, noAge } from "./support/backups.js";
import { World } from "./support/world.js";

t.setTimeout(100_000);
const SECRET = "correct-horse-battery";

/** belayd's two routes for copies, and whatever may go wrong on the way. */
class CopyStore {
  readonly kept = new Map<string, Buffer>();
  /** How long it takes before it reads what is sent. */
  slowMs = 0;
  /** Before the request is read: true if it has been answered. */
  onPut: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  /** What becomes of the bytes between arriving and being kept. */
  mangle: (bytes: Buffer) => Buffer = (bytes) => bytes;
  onGet: (bytes: Buffer, response: ServerResponse) => boolean = () => false;

  readonly serve = (request: IncomingMessage, response: ServerResponse): void => {
    void this.#serve(request, response).catch(() => response.destroy());
  };

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    if (request.headers.authorization !== "Bearer a-token-of-a-host") return void response.writeHead(401).end();
    if (request.method === "PUT") {
      if (this.onPut(request, response)) return;
      await wait(this.slowMs);
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const bytes = this.mangle(Buffer.concat(chunks));
      this.kept.set(path, bytes);
      response.end(JSON.stringify({ sha256: digest(bytes), bytes: bytes.length }));
      return;
    }
    const bytes = this.kept.get(path);
    if (bytes === undefined) return void response.writeHead(404).end('{"error":{"message":"no such copy"}}');
    if (this.onGet(bytes, response)) return;
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
  }
}

async function scene(t: Test, recipients: string[] = []) {
  const world = await World.make(t);
  const store = new CopyStore();
  world.controller.serve = store.serve;
  const dir = join(world.dir, "backups");
  const config = join(world.home, "svc.yaml");
  writeFileSync(config, SECRET);
  const large = join(world.home, "large");
  const content = randomBytes(3_000_001);
  writeFileSync(large, content);
  const items: BackupItem[] = [
    { kind: "file", path: config, optional: false },
    { kind: "file", path: large, optional: false },
    { kind: "file", path: join(world.home, "none"), optional: true },
  ];
  const copy = { to: "belayd" as const, recipients };
  const backup: Op = { kind: "backup", spec: { id: "b1", dir, items, version: "5.0.0", copy } };
  const restoreOf = (stored: StoredCopy): Op => ({ kind: "restore", id: "b1", dir, service: "svc", copy: stored });
  const verifyOf = (stored: StoredCopy): Op => ({ kind: "verify-backup", id: "b1", dir, copy: stored });
  const path = "/v1/backups/host-1/b1/copy";
  return { world, store, dir, config, large, content, backup, restoreOf, verifyOf, path };
}

function copyIn(outcome: Outcome): StoredCopy {
  const [copy] = outcome.status === "done" ? ((outcome.result as BackupResult).copies ?? []) : [];
  if (copy === undefined) throw new Error(`no copy in ${JSON.stringify(outcome)}`);
  const { sha256, bytes, encrypted } = copy;
  return { sha256, bytes, encrypted };
}

t.test("a copy leaves the host, is read back, and brings a lost backup back (I4)", async (t) => {
  const { world, store, dir, config, large, content, backup, restoreOf, verifyOf, path } = await scene(t);
  await world.start();
  const made = await world.controller.step(backup);
  const stored = copyIn(made);
  const bytes = store.kept.get(path) ?? Buffer.alloc(0);
  t.match(made, { status: "done", changed: true, result: { verified: true } });
  t.same(stored, { sha256: digest(bytes), bytes: bytes.length, encrypted: false });
  const names: string[] = [];
  await new Promise((resolve) =>
    list({ onReadEntry: (entry) => names.push(entry.path) })
      .on("end", resolve)
      .end(bytes),
  );
  t.same(names, ["./manifest.json", "./0-svc.yaml", "./1-large"]);
  const again = await world.controller.step(backup);
  t.same(copyIn(again), stored, "the same backup gives the same archive, byte for byte");

  t.match(await world.controller.step(verifyOf(stored)), { status: "done", result: { verified: true } });
  t.same(readdirSync(dir), ["b1"], "what was brought to be read is gone again");
  rmSync(join(dir, "b1"), { recursive: true });
  writeFileSync(config, "newer");
  rmSync(large);
  t.match(await world.controller.step(restoreOf(stored), { check: true }), {
    status: "done",
    result: { would: /copy at belayd/ },
  });
  t.same(readdirSync(dir), []);
  t.match(await world.controller.step(restoreOf(stored)), { status: "done", changed: true });
  t.equal(readFileSync(config, "utf8"), SECRET);
  t.ok(readFileSync(large).equals(content));
  t.same(readdirSync(dir), ["b1"], "and the host has its own again");

  writeFileSync(config, "newer");
  flipByte(join(dir, "b1", "1-large"), 1_000_000);
  t.match(await world.controller.step(restoreOf(stored)), { status: "done" }, "a damaged one is replaced");
  t.equal(readFileSync(config, "utf8"), SECRET);
});

t.test("a disk that can't read the host's own backup: its copy is brought back", async (t) => {
  const { world, dir, config, large, content, backup, restoreOf } = await scene(t);
  await world.start();
  writeFileSync(config, "");
  const stored = copyIn(await world.controller.step(backup));
  // The kernel's own EIO: nothing is mapped at the beginning of a process.
  const failing = (file: string) => {
    rmSync(join(dir, "b1", file));
    symlinkSync("/proc/self/mem", join(dir, "b1", file));
  };
  for (const file of ["0-svc.yaml", "manifest.json"]) {
    failing(file);
    writeFileSync(config, "newer");
    rmSync(large);
    const { copy: _, ...without } = restoreOf(stored) as OpOf<"restore">;
    t.match(await world.controller.step(without), { status: "failed", error: { code: "os-eio" } }, "no copy to use");
    t.equal(readFileSync(config, "utf8"), "newer");
    t.match(await world.controller.step(restoreOf(stored)), { status: "done", changed: true }, file);
    t.equal(readFileSync(config, "utf8"), "");
    t.ok(readFileSync(large).equals(content));
  }
  t.same(readdirSync(join(dir, "b1")).sort(), ["0-svc.yaml", "1-large", "manifest.json"]);
  t.ok(lstatSync(join(dir, "b1", "manifest.json")).isFile(), "and the host has its own again");
});

t.test("before anything is stopped, a backup that is no use is made whole from its copy (I4)", async (t) => {
  const { world, store, dir, backup, restoreOf } = await scene(t);
  await world.start();
  const stored = copyIn(await world.controller.step(backup));
  const read: Op = { kind: "verify-backup", id: "b1", dir, orCopy: stored };
  const kept = new Map(store.kept);
  store.kept.clear();
  const own = await world.controller.step(read);
  t.match(own, { status: "done", changed: false, result: { verified: true } }, "one that is whole needs no copy");

  flipByte(join(dir, "b1", "1-large"), 1_000_000);
  t.match(await world.controller.step(read), { status: "failed", error: { code: "copy-refused" } });
  t.ok(existsSync(join(dir, "b1")), "with no copy in hand, what there is stays");
  for (const [path, bytes] of kept) store.kept.set(path, bytes);
  const asked = await world.controller.step(read, { check: true });
  t.match(asked, { status: "done", result: { would: /bring the copy/ } });
  t.match(await world.controller.step(read), { status: "done", changed: true, result: { verified: true } });
  rmSync(join(dir, "b1"), { recursive: true });
  t.match(await world.controller.step(read), { status: "done", changed: true, result: { verified: true } });
  t.same(readdirSync(dir), ["b1"]);
  store.kept.clear();
  t.match(await world.controller.step(restoreOf(stored)), { status: "done" }, "and is put back with no network");
});

t.test(
  "encrypted to a recipient: nobody between can read it, and its identity brings it back",
  { skip: noAge },
  async (t) => {
    const { world, store, dir, config, backup, restoreOf, verifyOf, path } = await scene(t);
    const identity = join(world.dir, "identity");
    execFileSync("age-keygen", ["-o", identity], { stdio: "ignore" });
    const recipient = execFileSync("age-keygen", ["-y", identity], { encoding: "utf8" }).trim();
    await world.start();
    const spec =
      backup.kind === "backup" ? { ...backup.spec, copy: { to: "belayd" as const, recipients: [recipient] } } : null;
    if (spec === null) return;
    const stored = copyIn(await world.controller.step({ kind: "backup", spec }));
    t.equal(stored.encrypted, true);
    const bytes = store.kept.get(path) ?? Buffer.alloc(0);
    t.match(bytes.subarray(0, 21).toString(), "age-encryption.org/v1");
    t.notOk(bytes.includes(SECRET));
    t.match(await world.controller.step(verifyOf(stored)), { status: "failed", error: { code: "identity-missing" } });
    const orCopy: Op = { kind: "verify-backup", id: "b1", dir, orCopy: stored };
    t.match(await world.controller.step(orCopy), { status: "done" }, "the host's own needs no key");
    renameSync(join(dir, "b1"), join(world.dir, "b1"));
    t.match(await world.controller.step(orCopy), { status: "failed", error: { code: "identity-missing" } });
    renameSync(join(world.dir, "b1"), join(dir, "b1"));
    await world.stop();
    world.more = `identityFile: ${identity}`;
    await world.start();
    t.match(await world.controller.step(verifyOf(stored)), { status: "done", result: { verified: true } });
    rmSync(join(dir, "b1"), { recursive: true });
    writeFileSync(config, "newer");
    t.match(await world.controller.step(restoreOf(stored)), { status: "done" });
    t.equal(readFileSync(config, "utf8"), SECRET);

    const stranger = join(world.dir, "stranger");
    execFileSync("age-keygen", ["-o", stranger], { stdio: "ignore" });
    writeFileSync(identity, readFileSync(stranger));
    t.match(await world.controller.step(verifyOf(stored)), {
      status: "failed",
      retryable: false,
      error: { code: "copy-unreadable", message: /no identity matched/ },
    });
    t.notMatch(JSON.stringify(world.controller.told), /AGE-SECRET-KEY|correct-horse/);
    t.same(readdirSync(dir), ["b1"]);
  },
);

t.test("what goes wrong on the way out fails the step, and the local backup stays", async (t) => {
  const { world, store, dir, backup } = await scene(t);
  await world.start();
  const wrongs: [string, () => void, object][] = [
    [
      "belayd is in trouble",
      () => {
        store.onPut = (request, response) => {
          request.resume();
          response.writeHead(507).end('{"error":{"message":"no room for another copy"}}');
          return true;
        };
      },
      { retryable: true, error: { code: "copy-unavailable", message: /507.*no room/ } },
    ],
    [
      "it does not want it",
      () => {
        store.onPut = (request, response) => {
          request.resume();
          response.writeHead(413).end();
          return true;
        };
      },
      { retryable: false, error: { code: "copy-refused", message: /413/ } },
    ],
    [
      "the connection is cut in the middle",
      () => {
        store.onPut = (request) => {
          void once(request, "data").then(() => request.destroy());
          return true;
        };
      },
      { retryable: true, error: { code: "http-unreachable" } },
    ],
    [
      "other bytes arrive",
      () => {
        store.mangle = (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from("x")]);
      },
      { retryable: true, error: { code: "copy-damaged", message: /arrived/ } },
    ],
    [
      "belayd says what it was told, but has kept something else",
      () => {
        store.onGet = (bytes, response) => {
          response.end(Buffer.concat([Buffer.from("x"), bytes.subarray(1)]));
          return true;
        };
      },
      { retryable: true, error: { code: "copy-damaged", message: /came back/ } },
    ],
    [
      "it comes back by half",
      () => {
        store.onGet = (bytes, response) => {
          response.writeHead(200, { "content-length": bytes.length });
          response.write(bytes.subarray(0, 1000), () => response.destroy());
          return true;
        };
      },
      { retryable: true, error: { code: "copy-cut" } },
    ],
    [
      "it answers something else",
      () => {
        store.onPut = (request, response) => {
          request.resume();
          request.on("end", () => response.end("<html>welcome</html>"));
          return true;
        };
      },
      { retryable: false, error: { code: "copy-refused" } },
    ],
  ];
  for (const [what, arrange, expected] of wrongs) {
    store.onPut = () => false;
    store.onGet = () => false;
    store.mangle = (bytes) => bytes;
    arrange();
    t.match(await world.controller.step(backup), { status: "failed", ...expected }, what);
    t.same(readdirSync(dir), ["b1"], what);
  }
  store.onPut = () => false;
  store.onGet = () => false;
  t.match(await world.controller.step(backup), { status: "done", changed: true }, "repeated, it gets there");
});

t.test("a store that is slow is waited for, one that says nothing is not", async (t) => {
  const { world, store, backup, verifyOf } = await scene(t);
  await world.start({ downloadIdleMs: 300 });
  store.slowMs = 700;
  const stored = copyIn(await world.controller.step(backup));
  store.onGet = (bytes, response) => {
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 1000));
    return true;
  };
  t.match(await world.controller.step(verifyOf(stored)), {
    status: "failed",
    retryable: true,
    error: { code: /copy-cut|http-timeout/ },
  });
});

t.test("what comes back is unpacked with suspicion, and only if it is what was sent", async (t) => {
  const { world, store, dir, backup, restoreOf, config, path } = await scene(t);
  await world.start();
  const stored = copyIn(await world.controller.step(backup));
  rmSync(join(dir, "b1"), { recursive: true });
  writeFileSync(config, "newer");
  const good = store.kept.get(path) ?? Buffer.alloc(0);
  const refused = async (bytes: Buffer, copy: StoredCopy, code: string) => {
    store.kept.set(path, bytes);
    t.match(await world.controller.step(restoreOf(copy)), { status: "failed", error: { code } }, code);
    t.same(readdirSync(dir), [], "nothing of it stays");
    t.equal(readFileSync(config, "utf8"), "newer");
  };
  const bent = Buffer.from(good);
  bent[2_000_000] = (bent[2_000_000] ?? 0) ^ 1;
  await refused(bent, stored, "copy-damaged");
  await refused(Buffer.concat([good, Buffer.alloc(512)]), stored, "copy-damaged");
  await refused(good.subarray(0, 1_000_000), stored, "copy-damaged");
  const odd = async (make: (folder: string) => string[]) => {
    const folder = join(world.dir, `odd-${randomBytes(4).toString("hex")}`);
    execFileSync("mkdir", [folder]);
    const names = make(folder);
    const file = `${folder}.tar`;
    await create({ cwd: folder, file, preservePaths: true }, names);
    const bytes = readFileSync(file);
    return [bytes, { sha256: digest(bytes), bytes: bytes.length, encrypted: false }] as const;
  };
  const climbing = await odd((folder) => {
    writeFileSync(join(folder, "..", "evil"), "x");
    return ["../evil"];
  });
  await refused(...climbing, "copy-corrupt");
  const linked = await odd((folder) => {
    execFileSync("ln", ["-s", "manifest.json", join(folder, "0-svc.yaml")]);
    writeFileSync(join(folder, "manifest.json"), '{"id":"b1","items":[]}');
    return ["manifest.json", "0-svc.yaml"];
  });
  await refused(...linked, "copy-corrupt");
  const another = await odd((folder) => {
    writeFileSync(join(folder, "manifest.json"), '{"id":"b2","items":[]}');
    return ["manifest.json"];
  });
  await refused(...another, "backup-corrupt");
  const outside = await odd((folder) => {
    const item = { kind: "file", path: config, file: "../../token", uid: 0, gid: 0, mode: 420, size: 1, sha256: "0" };
    writeFileSync(
      join(folder, "manifest.json"),
      JSON.stringify({ id: "b1", takenAt: 1, version: null, items: [item] }),
    );
    return ["manifest.json"];
  });
  await refused(...outside, "backup-corrupt");
  t.notOk(existsSync(join(dir, "b1")));
});

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
