import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import { digest, HttpScene } from "./scene.js";

t.test("an artifact is for agents alone", async (t) => {
  const scene = await HttpScene.open(t);
  const path = `/v1/artifacts/${"a".repeat(64)}`;
  t.match(await scene.call("GET", path), { status: 403, body: { error: { code: "forbidden" } } });
  t.match(await scene.call("GET", path, { token: await scene.tokenOf("node-1") }), {
    status: 404,
    body: { error: { code: "artifact-unknown" } },
  });
});

t.test("a copy of a backup is for people and for the host it is of, and only that host sends it", async (t) => {
  const scene = await HttpScene.open(t);
  const [own, other] = [await scene.tokenOf("node-1"), await scene.tokenOf("auth-1")];
  const path = "/v1/backups/node-1/run.hop-1.node-1/copy";
  const body = new TextEncoder().encode("age-encryption.org/v1\n-> X25519 ...");
  for (const token of [null, scene.token, other]) {
    const status = token === null ? 401 : 403;
    t.match(await scene.call("PUT", path, { token, body }), { status });
    t.match(await scene.call("GET", path), { status: 404, body: { error: { code: "copy-unknown" } } });
  }
  t.match(await scene.call("PUT", path, { token: own, body: { not: "bytes" } }), { status: 415 });
  t.match(await scene.call("PUT", path.replace("run.", "..%2Frun."), { token: own, body }), { status: 400 });
  t.match(await scene.call("PUT", path, { token: own, body: new Uint8Array(0) }), { status: 400 });
  const sent = await scene.call("PUT", path, { token: own, body });
  t.same([sent.status, sent.body], [200, { sha256: digest(body), bytes: body.length }]);
  for (const token of [scene.token, own]) {
    const { status, body: back, headers } = await scene.call("GET", path, { token });
    t.same([status, back.text, headers.get("etag")], [200, Buffer.from(body).toString(), `"${digest(body)}"`]);
  }
  t.match(await scene.call("GET", path, { token: other }), { status: 403 });
  for (const token of [null, "wrong-token-wrong-token"])
    t.match(await scene.call("GET", path, { token }), { status: 401 });

  // Encrypted once more, the same archive has other bytes: nothing that is on record is overwritten.
  const again = new TextEncoder().encode("age-encryption.org/v1\n-> X25519 !!!");
  t.match(await scene.call("PUT", path, { token: own, body: again }), { status: 200 });
  t.match(await scene.call("PUT", path, { token: own, body }), { status: 200 });
  const bySha = (bytes: Uint8Array) => scene.call("GET", `${path}?sha256=${digest(bytes)}`, { token: own });
  t.equal((await bySha(body)).body.text, Buffer.from(body).toString());
  t.equal((await bySha(again)).body.text, Buffer.from(again).toString());
  t.same((await readdir(join(scene.dir, "data", "backups", "node-1"))).sort(), [
    "run.hop-1.node-1.2.tar.age",
    "run.hop-1.node-1.tar.age",
  ]);
});

t.test("a copy that is larger than allowed, or would fill the disk, is refused whole", async (t) => {
  const scene = await HttpScene.open(t, "backupStore: { kind: folder, maxBytes: 1048576 }\n");
  const token = await scene.tokenOf("node-1");
  const body = new Uint8Array(1024 * 1024 + 1).fill(7);
  t.match(await scene.call("PUT", "/v1/backups/node-1/a/copy", { token, body }), {
    status: 413,
    body: { error: { code: "copy-too-large" } },
  });
  t.match(await scene.call("PUT", "/v1/backups/node-1/a/copy", { token, body: body.subarray(1) }), { status: 200 });
  const full = await HttpScene.open(t, "backupStore: { kind: folder, minFreeBytes: 9007199254740991 }\n");
  t.match(await full.call("PUT", "/v1/backups/node-1/a/copy", { token: await full.tokenOf("node-1"), body }), {
    status: 507,
    body: { error: { code: "copy-store-full" } },
  });
});

t.test("a revoked token is no token", async (t) => {
  const scene = await HttpScene.open(t);
  const token = await scene.tokenOf("node-1");
  t.match(await scene.call("DELETE", "/v1/agents/tokens/node-1"), { status: 200 });
  t.match(await scene.call("GET", `/v1/artifacts/${"a".repeat(64)}`, { token }), { status: 401 });
  t.match(await scene.call("DELETE", "/v1/agents/tokens/node-1"), {
    status: 404,
    body: { error: { code: "token-unknown" } },
  });
});

t.test("bad requests are answered with a code, never with a stack", async (t) => {
  const scene = await HttpScene.open(t);
  const bad: [string, string, unknown][] = [
    ["POST", "/v1/plans", { to: 7 }],
    ["POST", "/v1/plans", { to: "7.0.0", surprise: true }],
    ["POST", "/v1/plans", { to: "7.0.0", by: "ann" }],
    ["POST", "/v1/runs", {}],
    ["GET", "/v1/plans?limit=0", undefined],
    ["GET", "/v1/plans?limit=many", undefined],
    ["POST", "/v1/agents/tokens", { host: "../etc" }],
    ["POST", "/v1/releases?file=../x&sha256=1", new Uint8Array([1])],
  ];
  for (const [method, path, body] of bad) {
    const answer = await scene.call(method, path, { body });
    t.match(answer, { status: 400, body: { error: { code: /^[a-z-]+$/ } } }, `${method} ${path}`);
    t.notMatch(JSON.stringify(answer.body), /node_modules|\.js:/);
  }
  t.match(await scene.call("POST", "/v1/plans", { body: { to: "x".repeat(5 * 1024 * 1024) } }), {
    status: 413,
  });
  t.match(await scene.call("GET", "/v1/runs/latest"), { status: 404, body: { error: { code: "run-unknown" } } });
  t.match(await scene.call("GET", "/v1/plans/%00%ff"), { status: 400 });
});

t.test("lists take a limit", async (t) => {
  const scene = await HttpScene.open(t);
  t.match(await scene.call("GET", "/v1/plans?limit=5"), { status: 200 });
  t.match(await scene.call("GET", "/v1/runs"), { status: 200 });
});

t.test("a stranger who asks for an upgrade and hangs up does not end belayd, nor keep it from ending", async (t) => {
  const scene = await HttpScene.open(t);
  const { port } = new URL(scene.daemon.address);
  const ask = (path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  for (const path of ["/x", "/v1/agent"]) {
    const rude = connect(Number(port), "127.0.0.1");
    await once(rude, "connect");
    rude.write(ask(path));
    rude.resetAndDestroy();
    const silent = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    silent.on("error", () => {});
    await once(silent, "connect");
    silent.write(ask(path));
    // It reads the refusal and never closes its own half.
    const [answer] = (await once(silent, "data")) as [Buffer];
    t.match(answer.toString(), path === "/x" ? /^HTTP\/1\.1 404 / : /^HTTP\/1\.1 401 /);
  }
  t.match(await scene.call("GET", "/v1/status"), { status: 200 });
  await scene.daemon.stop();
});
