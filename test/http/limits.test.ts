import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { originOf } from "@belay/controller/http/doors/address";
import { Attempts } from "@belay/controller/http/doors/attempts";
import { Rates } from "@belay/controller/rates";
import t, { type Test } from "tap";
import { HttpScene } from "./scene.js";

/** A socket at belayd's door that says what it is told, byte by byte if need be. */
async function dial(t: Test, scene: Pick<HttpScene, "daemon">): Promise<Socket> {
  const socket = connect(Number(new URL(scene.daemon.address).port), "127.0.0.1");
  socket.on("error", () => {});
  t.teardown(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

/** Not `once`, for which a reset on the way would be a failure. */
function closed(socket: Duplex): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** All that comes until the other side is done. */
async function readToEnd(socket: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await closed(socket);
  return Buffer.concat(chunks).toString();
}

async function ask(socket: Duplex, token: string): Promise<string> {
  socket.write(`GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  const [answer] = (await once(socket, "data")) as [Buffer];
  return answer.toString().split("\r\n")[0] ?? "";
}

t.test("connections: so many from one address, as long as nobody knows whose they are", async (t) => {
  const scene = await HttpScene.open(t, "limits: { connectionsPerAddress: 5 }\n");
  const token = await scene.personOf("ann", ["viewer"]);
  const idle = await Promise.all(Array.from({ length: 4 }, () => dial(t, scene)));
  // fetch keeps one of its own, which by now is known to be root's or ann's; these count as nobody's.
  t.equal(await ask(idle[0] as Socket, token), "HTTP/1.1 200 OK");
  const more = [await dial(t, scene), await dial(t, scene)];
  const over = await dial(t, scene);
  await closed(over);
  t.pass("one too many is let go of at once");
  for (const socket of more) t.equal(await ask(socket, token), "HTTP/1.1 200 OK", "those before are served");
  t.equal(await ask(await dial(t, scene), token), "HTTP/1.1 200 OK", "whose they are is known: places are free again");
});

t.test("connections: so many of one person, and of one host", async (t) => {
  const limits = { connections: { strangers: 100, perPerson: 3, perHost: 2 } };
  const scene = await HttpScene.open(t, "", { limits });
  const ann = await scene.personOf("ann", ["viewer"]);
  for (let open = 0; open < 3; open++) t.equal(await ask(await dial(t, scene), ann), "HTTP/1.1 200 OK");
  const fourth = await dial(t, scene);
  t.equal(await ask(fourth, ann), "HTTP/1.1 429 Too Many Requests");
  await closed(fourth);
  t.equal(await ask(await dial(t, scene), await scene.personOf("bob", ["viewer"])), "HTTP/1.1 200 OK");
  const host = await scene.tokenOf("node-1");
  for (let open = 0; open < 2; open++) t.equal(await ask(await dial(t, scene), host), "HTTP/1.1 403 Forbidden");
  t.equal(await ask(await dial(t, scene), host), "HTTP/1.1 429 Too Many Requests");
});

t.test("the door for other hosts has the same limits, and cookies that belong to it alone", async (t) => {
  const scene = await HttpScene.open(t, 'tls: { listen: "127.0.0.1:0" }\nlimits: { connectionsPerAddress: 3 }\n', {
    limits: { headersMs: 300 },
  });
  const port = Number(new URL(scene.daemon.tlsAddress ?? "").port);
  const dialTls = async () => {
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("error", () => {});
    t.teardown(() => socket.destroy());
    await Promise.race([once(socket, "secureConnect"), closed(socket)]);
    return socket;
  };
  for (let open = 0; open < 5; open++) {
    t.equal(await ask(await dialTls(), scene.token), "HTTP/1.1 200 OK", "whose they are is known: they take no place");
  }
  const callback = await dialTls();
  callback.write("GET /v1/login/callback HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  t.match(
    await readToEnd(callback),
    /set-cookie: __Host-belay-login=; Path=\/; HttpOnly; SameSite=Lax; Max-Age=0; Secure/i,
  );
  const slow = await dialTls();
  slow.write("GET /v1/whoami HTTP/1.1\r\nHost: x\r\n");
  t.match(await readToEnd(slow), /^HTTP\/1\.1 408 |^$/);
  // These have not even shaken hands.
  const strangers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      t.teardown(() => socket.destroy());
      await once(socket, "connect");
      return socket;
    }),
  );
  const over = connect(port, "127.0.0.1");
  over.on("error", () => {});
  await closed(over);
  t.ok(strangers.every(({ destroyed }) => !destroyed));
});

t.test("slow and oversized headers: the connection ends", async (t) => {
  const scene = await HttpScene.open(t, "", { limits: { headersMs: 300 } });
  const silent = await dial(t, scene);
  const slow = await dial(t, scene);
  slow.write("GET /v1/whoami HTTP/1.1\r\nHost: x\r\n");
  const trickle = setInterval(() => slow.write("X-A: b\r\n"), 50);
  const [nothing, late] = await Promise.all([readToEnd(silent), readToEnd(slow)]);
  clearInterval(trickle);
  t.match(late, /^HTTP\/1\.1 408 |^$/);
  t.match(nothing, /^HTTP\/1\.1 408 |^$/);
  const large = await dial(t, scene);
  large.write(`GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`);
  t.match(await readToEnd(large), /^HTTP\/1\.1 431 /);
});

t.test("bodies that trickle: the connection ends, of commands and of streams; what flows is let flow", async (t) => {
  const scene = await HttpScene.open(t, "", {
    limits: { body: { commandMs: 300, streamBytes: 10_000, streamMs: 300 } },
  });
  const send = async (type: string, path: string) => {
    const socket = await dial(t, scene);
    const head = `Host: x\r\nAuthorization: Bearer ${scene.token}\r\nContent-Type: ${type}\r\nContent-Length: 200000\r\n`;
    socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n`);
    return socket;
  };
  const add = `/v1/releases?file=teleport-v6.2.31-linux-amd64-bin.tar.gz&sha256=${"a".repeat(64)}`;
  const command = await send("application/json", "/v1/plans");
  const stream = await send("application/octet-stream", add);
  const trickle = setInterval(() => {
    command.write(" ");
    stream.write("x");
  }, 20);
  await Promise.all([closed(command), closed(stream)]);
  clearInterval(trickle);
  t.pass("both were let go of");

  const steady = await send("application/octet-stream", add);
  const flow = setInterval(() => steady.write("x".repeat(5_000)), 40);
  const [answer] = (await once(steady, "data")) as [Buffer];
  clearInterval(flow);
  t.match(
    answer.toString(),
    /^HTTP\/1\.1 400 [\s\S]*"code":"digest-mismatch"|^HTTP\/1\.1 4/,
    "read to its end, and judged",
  );
});

t.test("requests: each person, host and address has a share of their own", async (t) => {
  const clock = { ms: 0 };
  const few = { burst: 5, perSecond: 1 };
  const requests = { person: few, host: few, stranger: few };
  const scene = await HttpScene.open(t, "", { limits: { requests }, now: () => 1_700_000_000_000 + clock.ms });
  const [ann, bob] = [await scene.personOf("ann", ["viewer"]), await scene.personOf("bob", ["viewer"])];
  const status = async (token: string | null) => (await scene.call("GET", "/v1/whoami", { token })).status;
  for (let asked = 0; asked < 5; asked++) t.equal(await status(ann), 200);
  const refused = await scene.call("GET", "/v1/whoami", { token: ann });
  t.match(refused, { status: 429, body: { error: { code: "too-many-requests" } } });
  t.equal(refused.headers.get("retry-after"), "1");
  t.equal(await status(bob), 200, "not anybody else's");
  for (let asked = 0; asked < 5; asked++) t.equal(await status(null), 401);
  t.equal(await status(null), 429);
  t.equal((await scene.call("GET", "/nowhere", { token: null })).status, 429, "what is not there costs the same");
  clock.ms += 2_000;
  t.same([await status(ann), await status(ann), await status(ann)], [200, 200, 429]);
});

t.test("failed sign-ins lock their address out, longer each time, and nobody who was there before", async (t) => {
  const clock = { ms: 0 };
  const scene = await HttpScene.open(t, "", { now: () => 1_700_000_000_000 + clock.ms });
  const known = await scene.personOf("ann", ["viewer"]);
  const status = async (token: string | null) => (await scene.call("GET", "/v1/whoami", { token })).status;
  t.equal(await status(known), 200);
  const fresh = await scene.personOf("bob", ["viewer"]);
  const host = await scene.tokenOf("node-1");
  t.equal(await status(host), 403);
  for (let guess = 0; guess < 11; guess++) t.equal(await status(`wrong-token-wrong-token-${guess}`), 401);
  const locked = await scene.call("GET", "/v1/whoami", { token: "wrong-token-wrong-token" });
  t.match(locked, { status: 429, body: { error: { code: "locked-out" } } });
  t.equal(locked.headers.get("retry-after"), "1");
  t.equal(await status(known), 200, "who shares the address goes on");
  t.equal(await status(host), 403, "a host too");
  t.equal(await status(fresh), 429, "a token not seen yet could be a guess");
  clock.ms += 1_001;
  t.equal(await status(fresh), 200);
  t.equal(await status("wrong-token-wrong-token"), 401);
  clock.ms += 1_001;
  t.equal(await status("wrong-token-wrong-token"), 429, "twice as long");
  await scene.call("DELETE", "/v1/users/ann");
  clock.ms += 1_000;
  t.equal(await status(known), 401, "a token that ended is no longer known");
  const socket = await dial(t, scene);
  socket.write(
    "GET /v1/agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer wrong-token-wrong-token\r\n\r\n",
  );
  t.match(await readToEnd(socket), /^HTTP\/1\.1 429 /, "agents come through the same door");
});

t.test("what is remembered of strangers is bounded", async (t) => {
  const attempts = new Attempts();
  const rates = new Rates({ burst: 2, perSecond: 1 }, 1_000);
  for (let stranger = 0; stranger < 50_000; stranger++) {
    attempts.failed(`192.0.2.${stranger}`, null, stranger);
    rates.take(`192.0.2.${stranger}`, stranger);
  }
  t.ok(attempts.size <= 10_000, `${attempts.size} origins`);
  t.ok(rates.size <= 1_000, `${rates.size} buckets`);
  for (let failure = 0; failure < 100; failure++) attempts.failed("198.51.100.1", null, 0);
  t.equal(attempts.lockedFor("198.51.100.1", null, 0), 15 * 60_000, "no lock is for ever");
  t.equal(attempts.failed("198.51.100.1", null, 2 * 3_600_000), false, "what is long past is forgotten");
  t.equal(attempts.lockedFor("198.51.100.1", null, 2 * 3_600_000), 0);
});

t.test("addresses: IPv4 on a socket for both, and all of an IPv6 network as one", async (t) => {
  t.equal(originOf("::ffff:192.0.2.7"), "192.0.2.7");
  t.equal(originOf("192.0.2.7"), "192.0.2.7");
  t.equal(originOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  t.equal(originOf("2001:db8:1:2::9"), "2001:db8:1:2::/64");
  t.equal(originOf("2001:db8::9"), "2001:db8:0:0::/64");
  t.equal(originOf("fe80::1%eth0"), "fe80:0:0:0::/64");
  t.equal(originOf("::1"), "::1");
  t.equal(originOf(undefined), "unknown");
});

t.test("an answer that nobody reads is cut off, at both doors; one that is read slowly is not", async (t) => {
  const scene = await HttpScene.open(t, 'tls: { listen: "127.0.0.1:0" }\n', { limits: { unreadMs: 150 } });
  const size = 40_000_000;
  const body = new Uint8Array(size).fill(7);
  const path = "/v1/backups/node-1/a/copy";
  t.match(await scene.call("PUT", path, { token: await scene.tokenOf("node-1"), body }), { status: 200 });
  const ask = `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${scene.token}\r\nConnection: close\r\n\r\n`;
  const dialTls = () => {
    const socket = connectTls({
      port: Number(new URL(scene.daemon.tlsAddress ?? "").port),
      host: "127.0.0.1",
      rejectUnauthorized: false,
    });
    socket.on("error", () => {});
    t.teardown(() => socket.destroy());
    return socket;
  };
  for (const socket of [await dial(t, scene), dialTls()]) {
    socket.write(ask);
    // What was on its way is all there is, and it is not the whole.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const got = (await readToEnd(socket)).length;
    t.ok(got > 0 && got < size, `${got} bytes of ${size}`);
  }
  const slow = dialTls();
  slow.write(ask);
  let read = 0;
  let chunks = 0;
  slow.on("data", (chunk: Buffer) => {
    read += chunk.length;
    chunks += 1;
    if (chunks % 40 !== 0) return;
    slow.pause();
    setTimeout(() => slow.resume(), 10);
  });
  await closed(slow);
  t.ok(read >= size, `${read} bytes`);
});

t.test("what a browser is told with every answer, and what it may not send", async (t) => {
  const scene = await HttpScene.open(t);
  for (const path of ["/v1/status", "/v1/nowhere", "/v1/runs/latest"]) {
    const { headers } = await scene.call("GET", path);
    t.equal(headers.get("content-security-policy"), "default-src 'none';frame-ancestors 'none'", path);
    t.equal(headers.get("x-content-type-options"), "nosniff");
    t.equal(headers.get("x-frame-options"), "DENY");
    t.equal(headers.get("referrer-policy"), "no-referrer");
    t.equal(headers.get("cache-control"), "no-store");
    t.equal(headers.get("strict-transport-security"), "max-age=31536000");
    t.equal(headers.get("x-powered-by"), null);
    t.equal(headers.get("access-control-allow-origin"), null);
  }
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/jsonx",
    "",
  ]) {
    const answer = await scene.call("POST", "/v1/users", {
      body: { name: "eve", roles: ["admin"] },
      headers: { "content-type": type },
    });
    t.match(answer, { status: 415, body: { error: { code: "content-type-refused" } } }, type);
  }
  const bytes = await scene.call("POST", "/v1/users", { body: new Uint8Array([1]) });
  t.match(bytes, { status: 415 });
});
