import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { IdentityFile } from "@belay/agent";
import t from "tap";
import { HttpScene } from "../http/scene.js";
import { IdentityScene } from "./scene.js";

t.test("a host joins by a token, comes in by its certificate, and nothing of it is readable by others", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  t.equal(await host.knock(), "welcome");
  const held = host.identity.held;
  const certificate = new X509Certificate(held?.certificate ?? "");
  t.equal(certificate.subjectAltName, "URI:belay://acme/host/node-1");
  t.same(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
  const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
  t.ok(days > 6.9 && days < 7.1, `${days} days`);
  t.equal((await stat(join(host.dir, "identity"))).mode & 0o777, 0o700);
  t.same(await readdir(join(host.dir, "identity")), ["current.json"]);
  t.equal((await stat(join(host.dir, "identity", "current.json"))).mode & 0o777, 0o600);
  for (const name of await readdir(scene.authorityDir)) {
    t.equal((await stat(join(scene.authorityDir, name))).mode & 0o777, 0o600, name);
  }
  t.equal((await stat(scene.authorityDir)).mode & 0o777, 0o700);
  t.match(scene.told("host-joined"), [{ host: "node-1", from: "127.0.0.1", generation: 1 }]);
});

t.test("a token used twice: the second key is refused, and that is on record (identity reuse)", async (t) => {
  const scene = await IdentityScene.open(t);
  const token = await scene.token("node-1");
  const first = await scene.host("node-1", token);
  const thief = await scene.host("node-1", token);
  await first.identity.join();
  await t.rejects(thief.identity.join(), { code: "token-used" });
  t.equal(await first.knock(), "welcome", "the one that was first is untouched");
  t.match(scene.told("join-refused"), [{ host: "node-1", why: "token-used", owner: "node-1", from: "127.0.0.1" }]);
  const listed = (await scene.http.call("GET", "/v1/agents/tokens")).body as unknown as unknown[];
  t.match(listed, [{ host: "node-1", state: "used", refusals: 1, refused: { why: "token-used", from: "127.0.0.1" } }]);
  t.notMatch(JSON.stringify(listed), new RegExp(token.split(".").at(-1) ?? ""));
});

t.test("of many who come with one token at the same moment, one gets in", async (t) => {
  const scene = await IdentityScene.open(t);
  const token = await scene.token("node-1");
  const hosts = await Promise.all(Array.from({ length: 12 }, () => scene.host("node-1", token)));
  const ends = await Promise.all(
    hosts.map(({ identity }) =>
      identity.join().then(
        () => "joined",
        (error: { code: string }) => error.code,
      ),
    ),
  );
  t.same(ends.sort(), ["joined", ...Array.from({ length: 11 }, () => "token-used")]);
  t.equal(scene.told("host-joined").length, 1);
});

t.test("an answer that was lost can be asked for again, by the key that asked", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.host("node-1", await scene.token("node-1"));
  await host.identity.join();
  // As a crash between belayd's answer and the agent's disk leaves it: the key that asked, and no identity.
  const { key, token } = JSON.parse(await readFile(join(host.dir, "identity", "current.json"), "utf8"));
  const again = await scene.host("node-1", await readFile(join(host.dir, "token"), "utf8"));
  await new IdentityFile(again.dir).writeJoining({ token, key });
  await again.identity.join();
  t.equal(await again.knock(), "welcome");
  t.equal(scene.told("host-joined").length, 1, "it is the same life");
  t.match(scene.told("join-repeated"), [{ host: "node-1", from: "127.0.0.1", sequence: 2 }], "on record all the same");
  t.equal(scene.told("join-refused").length, 0);
  t.same(await readdir(join(again.dir, "identity")), ["current.json"]);
});

t.test("a token that has expired, was taken back, was replaced, or is another host's", async (t) => {
  const scene = await IdentityScene.open(t);
  const expired = await scene.host("node-1", await scene.token("node-1", 60));
  scene.moveClock(60_000);
  await t.rejects(expired.identity.join(), { code: "token-expired" });

  const replaced = await scene.host("node-1", await scene.token("node-1"));
  const other = await scene.host("auth-1", await scene.token("node-1"));
  await t.rejects(replaced.identity.join(), { code: "token-ended" });
  await t.rejects(other.identity.join(), { code: "token-host-mismatch" });

  t.match(await scene.http.call("DELETE", "/v1/agents/tokens/node-1"), { status: 200 });
  t.match(await scene.http.call("DELETE", "/v1/agents/tokens/node-1"), { status: 404 });
  const back = await scene.host("node-1", await readFile(join(other.dir, "token"), "utf8"));
  await t.rejects(back.identity.join(), { code: "token-ended" });
  t.equal(scene.told("host-joined").length, 0);
  t.equal(scene.told("join-refused").length, 4);
});

t.test("a token is good until belayd itself refuses it, whatever else keeps the host from joining", async (t) => {
  const scene = await IdentityScene.open(t);
  const elsewhere = await IdentityScene.open(t);
  // A name that leads to another belayd at first.
  let leadsTo = elsewhere.base;
  const name = createServer((from) => {
    const to = connect(Number(new URL(leadsTo).port), "127.0.0.1");
    for (const end of [from, to]) end.on("error", () => {});
    from.pipe(to).pipe(from);
  });
  name.listen(0, "127.0.0.1");
  await once(name, "listening");
  t.teardown(() => void name.close());
  const base = `https://127.0.0.1:${(name.address() as AddressInfo).port}`;
  const { identity, dir } = await scene.host("node-1", await scene.token("node-1"), { base });
  for (let tries = 0; tries < 2; tries += 1) {
    t.match(await identity.prepare(), { kind: "refused", retry: false, error: { code: "controller-unknown" } });
  }
  leadsTo = scene.base;
  // No room for the key, or as good as none.
  await writeFile(join(dir, "identity"), "");
  for (let tries = 0; tries < 2; tries += 1) {
    t.match(await identity.prepare(), { kind: "refused", retry: false, error: { code: /^os-/ } });
  }
  await rm(join(dir, "identity"));
  t.equal(await identity.prepare(), null);
  t.match(scene.told("host-joined"), [{ host: "node-1" }]);

  const refused = await scene.host("node-1", await readFile(join(dir, "token"), "utf8"));
  t.match(await refused.identity.prepare(), { error: { code: "token-used" } });
  t.match(await refused.identity.prepare(), { error: { code: "not-joined", hint: /new token/ } });
  t.equal(scene.told("join-refused").length, 1, "which is asked for once alone");
});

t.test("whoever guesses at join tokens is locked out, and no host that shows its certificate is", async (t) => {
  const scene = await IdentityScene.open(t);
  const here = await scene.joined("auth-1");
  const token = await scene.token("node-1");
  const guess = (last: string) => scene.host("node-1", `${token.slice(0, -1)}${last}`);
  const wrong = [..."ABCDEFGHIJKLM"].filter((letter) => !token.endsWith(letter)).slice(0, 11);
  for (const letter of wrong) await t.rejects((await guess(letter)).identity.join(), { code: "token-unknown" });
  await t.rejects((await scene.host("node-1", token)).identity.join(), {
    code: "controller-unreachable",
    message: /429/,
  });
  t.equal(await here.knock(), "welcome", "its neighbours are not concerned");
  scene.moveClock(2_000);
  await (await scene.host("node-1", token)).identity.join();
});

t.test("nobody joins in the clear, with a false proof, or with another kind of key", async (t) => {
  const scene = await IdentityScene.open(t);
  const token = (await scene.token("node-1")).split(".").at(-1);
  const body = { secret: token, host: "node-1", key: "AAAA", proof: "AAAA" };
  t.match(await scene.http.call("POST", "/v1/agents/join", { token: null, body }), {
    status: 400,
    body: { error: { code: "tls-needed" } },
  });
  t.match(await scene.http.call("POST", "/v1/agents/renew", { token: null, body: { key: "AAAA", proof: "AAAA" } }), {
    status: 401,
  });
  t.match(await scene.http.call("POST", "/v1/agents/join", { token: null, body: { ...body, more: 1 } }), {
    status: 400,
  });
});

t.test("a belayd with no door over TLS makes no token for it", async (t) => {
  const scene = await HttpScene.open(t);
  t.match(await scene.call("POST", "/v1/agents/tokens", { body: { host: "node-1" } }), {
    status: 400,
    body: { error: { code: "no-door", hint: /tls/ } },
  });
});
