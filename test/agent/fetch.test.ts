import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { decodeOp } from "@belay/shared";
import t from "tap";
import { Header } from "tar";
import { World } from "./support/world.js";

interface Entry {
  path: string;
  type?: "File" | "Directory" | "SymbolicLink" | "Link" | "CharacterDevice" | "BlockDevice" | "FIFO" | "GNUDumpDir";
  mode?: number;
  linkpath?: string;
  content?: string;
}

/** A tarball made byte by byte, because no honest tool packs what these tests need. */
function tarball(entries: Entry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path, type = "File", mode = 0o644, linkpath = "", content = "" } of entries) {
    const header = new Header({ path, type, mode, linkpath, size: content.length, uid: 0, gid: 0, mtime: new Date(0) });
    const block = Buffer.alloc(512);
    header.encode(block, 0);
    blocks.push(block);
    const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
    body.write(content);
    blocks.push(body);
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

/** What lies in the versions folder, hidden names included. */
const left = (world: World) => readdirSync(world.versionsDir).sort();

/** Real processes on shared cores. */
t.setTimeout(120_000);

t.test("unpacks whole, with a manifest that a changed byte breaks", async (t) => {
  const world = await World.make(t);
  await world.start();
  const bytes = tarball([
    { path: "svc/", type: "Directory" },
    { path: "svc/bin/run", mode: 0o777, content: "run" },
    { path: "svc/link", type: "SymbolicLink", linkpath: "bin/run" },
    { path: "svc/hard", type: "Link", linkpath: "svc/bin/run" },
  ]);
  const op = world.serveFile("6.0.0", bytes);
  t.match(await world.controller.step(op), { status: "done", changed: true });
  t.same(left(world), ["6.0.0"]);
  const dir = join(world.versionsDir, "6.0.0");
  t.equal(lstatSync(join(dir, "bin/run")).mode & 0o777, 0o755, "nobody but the owner may write");
  t.equal(readFileSync(join(dir, "hard"), "utf8"), "run");
  t.equal(readFileSync(join(dir, "link"), "utf8"), "run");
  const manifest = JSON.parse(readFileSync(join(dir, ".belay-manifest.json"), "utf8"));
  t.match(manifest, {
    version: "6.0.0",
    artifact: { sha256: op.sha256 },
    files: [{}, {}, { path: "link", link: "bin/run" }],
  });

  t.match(await world.controller.step(op), { status: "done", changed: false });
  t.match(await world.controller.step({ ...op, sha256: "0".repeat(64) }), {
    status: "failed",
    error: { code: "digest-mismatch" },
  });
  writeFileSync(join(dir, "bin/run"), "RUN");
  t.match(await world.controller.step(op), {
    status: "failed",
    retryable: false,
    error: { code: "version-dir-changed" },
  });
  writeFileSync(join(dir, "bin/run"), "run");
  chmodSync(join(dir, "bin/run"), 0o777);
  t.match(await world.controller.step(op), {
    status: "failed",
    error: { code: "version-dir-changed", message: /mode/ },
  });
});

t.test("refuses everything that could touch something outside, naming the entry, and leaves nothing", async (t) => {
  const world = await World.make(t);
  await world.start();
  const good: Entry = { path: "svc/good", content: "good" };
  const outside = join(world.dir, "outside");
  const bad: [string, Entry[]][] = [
    ["/etc/evil", [{ path: outside, content: "x" }]],
    ["dot dot", [{ path: "svc/../../../outside", content: "x" }]],
    ["dot dot in what is stripped", [{ path: "../svc/outside", content: "x" }]],
    ["absolute link", [{ path: "svc/l", type: "SymbolicLink", linkpath: "/etc/passwd" }]],
    ["link upward", [{ path: "svc/l", type: "SymbolicLink", linkpath: "../../outside" }]],
    [
      "file through a link",
      [
        { path: "svc/d", type: "SymbolicLink", linkpath: "../.." },
        { path: "svc/d/outside", content: "x" },
      ],
    ],
    [
      "links that each look harmless",
      [
        { path: "svc/a/b/", type: "Directory" },
        { path: "svc/a/b/up", type: "SymbolicLink", linkpath: "../.." },
        { path: "svc/out", type: "SymbolicLink", linkpath: "a/b/up/.." },
      ],
    ],
    ["link to nowhere", [{ path: "svc/l", type: "SymbolicLink", linkpath: "nowhere" }]],
    ["hard link outside", [{ path: "svc/h", type: "Link", linkpath: "../../outside" }]],
    ["hard link to a stranger", [{ path: "svc/h", type: "Link", linkpath: "svc/stranger" }]],
    ["character device", [{ path: "svc/null", type: "CharacterDevice" }]],
    ["block device", [{ path: "svc/disk", type: "BlockDevice" }]],
    ["fifo", [{ path: "svc/pipe", type: "FIFO" }]],
    ["setuid", [{ path: "svc/root", mode: 0o4755, content: "x" }]],
    ["setgid", [{ path: "svc/root", mode: 0o2755, content: "x" }]],
    ["twice", [{ path: "svc/good", content: "other" }]],
    ["below a file", [{ path: "svc/good/x", content: "x" }]],
    ["manifest of its own", [{ path: "svc/.belay-manifest.json", content: "{}" }]],
    ["outside the stripped folder", [{ path: "README", content: "x" }]],
  ];
  for (const [what, entries] of bad) {
    const outcome = await world.controller.step(world.serveFile("6.0.0", tarball([good, ...entries])));
    const last = entries.at(-1)?.path ?? "";
    t.match(outcome, { status: "failed", retryable: false, error: { code: "artifact-unsafe", hint: String } }, what);
    const named = JSON.stringify(outcome);
    t.ok(
      entries.some((entry) => named.includes(entry.path.replace(/^svc\//, ""))),
      `${what}: names ${last}`,
    );
    t.same(left(world), [], `${what}: nothing left`);
    t.notOk(existsSync(outside), `${what}: nothing outside`);
  }
});

t.test("limits and broken archives", async (t) => {
  const world = await World.make(t);
  await world.start();
  const big = {
    ...world.serveFile("6.0.0", tarball([{ path: "svc/a", content: "a".repeat(5000) }])),
    maxUnpackedBytes: 4999,
  };
  t.match(await world.controller.step(big), {
    status: "failed",
    retryable: false,
    error: { code: "artifact-too-large" },
  });
  t.match(await world.controller.step({ ...big, maxUnpackedBytes: 5000 }), { status: "done" });

  const whole = tarball([{ path: "svc/a", content: "a".repeat(5000) }]);
  const half = world.serveFile("6.0.1", whole.subarray(0, whole.length - 20));
  t.match(await world.controller.step(half), {
    status: "failed",
    retryable: false,
    error: { code: "artifact-unreadable" },
  });
  const cutTar = world.serveFile("6.0.1", gzipSync(gunzipSync(whole).subarray(0, 3000)));
  t.match(await world.controller.step(cutTar), {
    status: "failed",
    retryable: false,
    error: { code: "artifact-unreadable" },
  });
  const noise = world.serveFile("6.0.1", Buffer.alloc(3000, "noise"));
  t.match(await world.controller.step(noise), {
    status: "failed",
    retryable: false,
    error: { code: "artifact-unreadable" },
  });
  t.same(left(world), ["6.0.0"]);
});

t.test("a cut download goes on where it was cut", async (t) => {
  const world = await World.make(t);
  await world.start();
  const bytes = tarball([{ path: "svc/a", content: randomText(200_000) }]);
  const op = world.serveFile("6.0.0", bytes);
  const whole = world.controller.serve;
  const ranges: (string | undefined)[] = [];
  world.controller.serve = (request, response) => {
    ranges.push(request.headers.range);
    if (ranges.length > 1) return whole(request, response);
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 70_000), () => setTimeout(() => response.destroy(), 50));
    return response;
  };
  t.match(await world.controller.step(op), { status: "failed", retryable: true, error: { code: "download-cut" } });
  const [partial] = left(world);
  t.match(partial, /partial$/);
  const had = lstatSync(join(world.versionsDir, partial ?? "")).size;
  t.ok(had > 0);
  t.match(await world.controller.step(op), { status: "done", changed: true });
  t.same(ranges, [undefined, `bytes=${had}-`]);
  t.same(left(world), ["6.0.0"]);
});

t.test("a kept part that was damaged is thrown away; the next attempt is whole", async (t) => {
  const world = await World.make(t);
  await world.start();
  const op = world.serveFile("6.0.0", tarball([{ path: "svc/a", content: randomText(50_000) }]));
  writeFileSync(join(world.versionsDir, `.belay-${op.sha256}.partial`), "not its beginning");
  t.match(await world.controller.step(op), { status: "failed", retryable: true, error: { code: "download-damaged" } });
  t.same(left(world), []);
  t.match(await world.controller.step(op), { status: "done", changed: true });
});

t.test("wrong bytes, too many, too few, none", async (t) => {
  const world = await World.make(t);
  await world.start({ downloadIdleMs: 200 });
  const { controller } = world;
  const bytes = tarball([{ path: "svc/a", content: "a" }]);
  const op = world.serveFile("6.0.0", bytes);
  const answers: [string, boolean, (typeof controller)["serve"]][] = [
    ["digest-mismatch", false, (_, response) => response.end(Buffer.alloc(bytes.length))],
    ["digest-mismatch", false, (_, response) => response.end(Buffer.concat([bytes, bytes]))],
    ["artifact-refused", false, (_, response) => response.writeHead(404).end()],
    ["artifact-refused", false, (_, response) => response.writeHead(401).end()],
    ["artifact-unavailable", true, (_, response) => response.writeHead(503).end()],
    ["http-unreachable", true, (request) => request.socket.destroy()],
    ["download-stalled", true, (_, response) => response.write(bytes.subarray(0, 10))],
    ["download-cut", true, (_, response) => response.end(bytes.subarray(10, 20))],
  ];
  for (const [code, retryable, serve] of answers) {
    controller.serve = serve;
    t.match(await controller.step(op), { status: "failed", retryable, error: { code } }, code);
    t.same(
      left(world).filter((name) => !name.endsWith(".partial")),
      [],
      "no version is there",
    );
  }
});

t.test("a path outside the allowed directories is refused, also through a link", async (t) => {
  const world = await World.make(t);
  await world.start();
  const op = await world.release("6.0.0");
  t.match(await world.controller.step({ ...op, versionsDir: "/opt/elsewhere" }), {
    status: "failed",
    retryable: false,
    error: { code: "path-refused" },
  });
  symlinkSync("/opt", join(world.dir, "way-out"));
  const sly = { ...op, versionsDir: join(world.dir, "way-out", "versions") };
  t.match(await world.controller.step(sly), { status: "failed", error: { code: "path-refused" } });
  t.match(await world.controller.step({ ...op, versionsDir: `${world.dir}/../other` }), {
    status: "failed",
    error: { code: "path-refused" },
  });
});

t.test("a full disk: retryable, and what was taken is given back", async (t) => {
  const world = await World.make(t);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=100k", "belay-test", world.versionsDir]).status !== 0) {
    t.pass("only root can make a small disk");
    return;
  }
  t.teardown(() => void spawnSync("umount", [world.versionsDir]));
  await world.start();
  const failed = { status: "failed", retryable: true, error: { code: "disk-full", message: /versions/ } };
  const download = world.serveFile("6.0.0", tarball([{ path: "svc/a", content: randomText(400_000) }]));
  t.match(await world.controller.step(download), failed, "while downloading");
  t.same(left(world), []);
  const unpack = world.serveFile("6.0.0", tarball([{ path: "svc/a", content: "a".repeat(400_000) }]));
  t.match(await world.controller.step(unpack), failed, "while unpacking");
  t.notMatch(left(world).join(), /unpacking|6\.0\.0/);
  const before = { ...download, version: "7.0.0", roomBytes: 1_000_000 };
  const asked = world.controller.authorizations.length;
  t.match(await world.controller.step(before), failed, "before the first byte");
  t.equal(world.controller.authorizations.length, asked);
});

t.test("a disk without inodes: retryable, named, and nothing is left", async (t) => {
  const world = await World.make(t);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "nr_inodes=30", "belay-test", world.versionsDir]).status !== 0) {
    t.pass("only root can make a small disk");
    return;
  }
  t.teardown(() => void spawnSync("umount", [world.versionsDir]));
  await world.start();
  const files = Array.from({ length: 60 }, (_, n) => ({ path: `svc/f${n}`, content: "x" }));
  const outcome = await world.controller.step(world.serveFile("6.0.0", tarball(files)));
  t.match(outcome, { status: "failed", retryable: true, error: { code: "disk-full", message: /0 inodes are free/ } });
  t.notMatch(left(world).join(), /unpacking|6\.0\.0/);
});

t.test("below: a release is unpacked into a folder of the version's own", async (t) => {
  const world = await World.make(t);
  await world.start();
  const op = { ...(await world.release("6.0.0")), below: "bin" };
  t.match(await world.controller.step(op), { status: "done", changed: true });
  t.ok(existsSync(join(world.versionsDir, "6.0.0", "bin", "svc")));
  t.match(await world.controller.step(op), { status: "done", changed: false }, "and is intact by its manifest");
  for (const below of ["..", "a/../b", "/a", "a/"]) t.throws(() => decodeOp({ ...op, below }), below);
});

t.test("folders are everybody's to enter, however careful the agent's umask is", async (t) => {
  const world = await World.make(t);
  await world.start();
  const before = process.umask(0o077);
  t.teardown(() => void process.umask(before));
  const op = world.serveFile("6.0.0", tarball([{ path: "svc/lib/deep/a", content: "a" }]));
  t.match(await world.controller.step({ ...op, versionsDir: join(world.dir, "new", "versions"), below: "bin" }), {
    status: "done",
  });
  for (const dir of ["new", "new/versions", "new/versions/6.0.0/bin", "new/versions/6.0.0/bin/lib/deep"]) {
    t.equal(lstatSync(join(world.dir, dir)).mode & 0o777, 0o755, dir);
  }
});

/** Text that doesn't compress, always the same. */
function randomText(length: number): string {
  let text = "";
  for (let n = 0; text.length < length; n += 1) text += createHash("sha256").update(String(n)).digest("hex");
  return text.slice(0, length);
}
