import { readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ArtifactStore } from "@belay/controller/releases/artifacts";
import t from "tap";
import { digest, HttpScene, tarballOf } from "./scene.js";

const FILE = "teleport-v6.2.31-linux-amd64-bin.tar.gz";
const link = (target: string, path: string) => symlink(target, path);
const good = () => tarballOf({ "teleport/teleport": "#!/bin/sh\n", "teleport/VERSION": "6.2.31" }, link);

const stored = async (scene: HttpScene) => (await readdir(join(scene.dir, "data", "artifacts"))).length;

t.test("a release is stored under its digest and given out in whole and in parts", async (t) => {
  const scene = await HttpScene.open(t);
  const bytes = await good();
  t.match(await scene.add(FILE, bytes), {
    status: 200,
    body: { version: "6.2.31", artifacts: [{ arch: "amd64", edition: "oss", size: bytes.length, stored: true }] },
  });
  t.match(await scene.add(FILE, bytes), { status: 200 }, "again is the same as once");
  const token = await scene.tokenOf("node-1");
  const path = `/v1/artifacts/${digest(bytes)}`;
  const whole = await fetch(scene.daemon.address + path, { headers: { authorization: `Bearer ${token}` } });
  t.equal(digest(new Uint8Array(await whole.arrayBuffer())), digest(bytes));
  const rest = await fetch(scene.daemon.address + path, {
    headers: { authorization: `Bearer ${token}`, range: "bytes=10-" },
  });
  t.equal(rest.status, 206);
  t.equal(rest.headers.get("content-range"), `bytes 10-${bytes.length - 1}/${bytes.length}`);
  t.equal(digest(new Uint8Array(await rest.arrayBuffer())), digest(bytes.subarray(10)));
  const beyond = await fetch(scene.daemon.address + path, {
    headers: { authorization: `Bearer ${token}`, range: `bytes=${bytes.length}-` },
  });
  t.equal(beyond.status, 416);
  await beyond.arrayBuffer();
});

t.test("any wrong byte is refused, and nothing is left behind", async (t) => {
  const scene = await HttpScene.open(t);
  const bytes = await good();
  await scene.add("teleport-v6.2.30-linux-amd64-bin.tar.gz", await tarballOf({ "teleport/teleport": "other" }, link));
  const before = await stored(scene);
  for (const at of [0, 5, Math.floor(bytes.length / 2), bytes.length - 1]) {
    const bent = Buffer.from(bytes);
    bent[at] = (bent[at] ?? 0) ^ 1;
    t.match(await scene.add(FILE, bent, digest(bytes)), { status: 400, body: { error: { code: "artifact-digest" } } });
  }
  const cut = bytes.subarray(0, bytes.length - 20);
  t.match(await scene.add(FILE, cut, digest(bytes)), { status: 400, body: { error: { code: "artifact-digest" } } });
  t.match(
    await scene.add(FILE, cut),
    { status: 400, body: { error: { code: "release-malformed" } } },
    "with a digest that fits it",
  );
  t.match(await scene.add("teleport-6.2.31.tar.gz", bytes), { status: 400, body: { error: { code: "release-name" } } });
  t.equal(await stored(scene), before);
  t.same((await scene.call("GET", "/v1/releases")).body.length, 1);
});

t.test("a tarball that would leave its folder is refused, and the error names the entry", async (t) => {
  const scene = await HttpScene.open(t);
  const cases: [Record<string, string>, RegExp][] = [
    [{ "teleport/teleport": "x", "teleport/evil": "-> /etc/passwd" }, /teleport\/evil.*\/etc\/passwd/],
    [{ "teleport/teleport": "x", "teleport/evil": "-> ../../outside" }, /teleport\/evil/],
    [{ "teleport/tctl": "x" }, /no teleport\/teleport/],
  ];
  for (const [files, words] of cases) {
    const bytes = await tarballOf(files, link);
    t.match(await scene.add(FILE, bytes), {
      status: 400,
      body: { error: { code: "release-malformed", message: words } },
    });
  }
  t.equal(await stored(scene), 0);
});

t.test("what a crash left of an upload is gone after the next start; a body that is no file is refused", async (t) => {
  const scene = await HttpScene.open(t);
  await writeFile(join(scene.dir, "data", "artifacts", `.${"a".repeat(64)}.1.partial`), "half");
  await scene.add(FILE, await good());
  await new ArtifactStore(join(scene.dir, "data", "artifacts")).sweep();
  t.equal(await stored(scene), 1);
  const path = `/v1/releases?file=${FILE}&sha256=${"a".repeat(64)}`;
  t.match(await scene.call("POST", path, { body: { not: "a file" } }), {
    status: 415,
    body: { error: { code: "content-type-refused" } },
  });
});

t.test("a release never changes", async (t) => {
  const scene = await HttpScene.open(t);
  await scene.add(FILE, await good());
  const other = await tarballOf({ "teleport/teleport": "something else" }, link);
  t.match(await scene.add(FILE, other), { status: 409, body: { error: { code: "artifact-differs" } } });
  t.equal(await stored(scene), 1);
});

t.test("I11: people block and unblock releases, for a reason", async (t) => {
  const scene = await HttpScene.open(t);
  await scene.add(FILE, await good());
  const call = (verb: string, body: object) => scene.call("POST", `/v1/releases/6.2.31/${verb}`, { body });
  t.match(await call("block", {}), { status: 400, body: { error: { code: "reason-missing" } } });
  t.match(await call("block", { reason: "breaks access" }), { status: 200, body: { blocked: "breaks access" } });
  t.match(await call("unblock", {}), { status: 200, body: { blocked: null } });
});
