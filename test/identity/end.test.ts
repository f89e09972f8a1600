import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { IdentityFile, systemHttp } from "@belay/agent";
import type { IdentityEvent } from "@belay/controller/identity/event";
import { Identity, type IdentityOptions } from "@belay/controller/identity/identity";
import { openSqlite } from "@belay/controller/store/sqlite";
import t, { type Test } from "tap";
import { until } from "../support/real-fleet/until.js";
import { type HostAtDoor, IdentityScene } from "./scene.js";

const DAY_MS = 86_400_000;
const ARTIFACT = `/v1/artifacts/${"a".repeat(64)}`;

/** What a request of this host is answered; 404 is an answer to one who may ask. */
async function ask(scene: IdentityScene, { identity }: HostAtDoor): Promise<number> {
  const { tls } = identity.access();
  return (await systemHttp.text(`${scene.base}${ARTIFACT}`, { timeoutMs: 5_000, tls })).status;
}

t.test("a revoked host is out at once: its link, what it sends, and all that it asks for", async (t) => {
  const scene = await IdentityScene.open(t);
  const [host, other] = [await scene.joined("node-1"), await scene.joined("auth-1")];
  const [line, otherLine] = [await host.dial(), await other.dial()];
  t.equal(line.outcome, "welcome");
  // In the middle of sending a copy of a backup.
  const { tls } = host.identity.access();
  const url = `${scene.base}/v1/backups/node-1/b/copy`;
  const sending = request(url, { ...tls, method: "PUT", headers: { "content-type": "application/octet-stream" } });
  const cut = once(sending, "error") as Promise<Error[]>;
  sending.write(Buffer.alloc(100_000));
  const arriving = async () => (await readdir(join(scene.http.dir, "data", "backups"), { recursive: true })).length > 0;
  await until(async () => (await arriving()) || "nothing yet", "belayd receives the copy", 10_000);

  const answer = await scene.say("/v1/agents/identities/node-1/revoke");
  t.equal(answer.status, 200);
  t.match(await line.closed, /4401|certificate-revoked|1006/);
  t.match(line.messages.at(-1), { type: "refused", error: { code: "certificate-revoked" }, retry: false });
  t.match((await cut)[0]?.message, /reset|hang up|closed/i);
  t.equal(await host.knock(), "denied 401");
  t.equal(await ask(scene, host), 401);
  t.match(scene.told("host-revoked"), [{ host: "node-1", by: "root", reason: "test" }]);
  t.match(
    scene.told("certificate-refused"),
    [{ host: "node-1", why: "certificate-revoked" }],
    "told once, not each time",
  );

  t.equal(await ask(scene, other), 404, "nobody else is touched");
  t.equal(otherLine.messages.filter(({ type }) => type === "refused").length, 0);
  otherLine.end();
});

t.test("revoked is for ever: after a restart, for renewals, and when the host has joined anew", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  t.equal(await host.knock(), "welcome");
  await scene.say("/v1/agents/identities/node-1/revoke");
  await scene.http.restart();
  const old = await scene.again(host, { lookMs: 10 });
  t.equal(await old.knock(), "denied 401");
  t.match(await scene.say("/v1/agents/identities/node-1/revoke"), {
    status: 404,
    body: { error: { code: "identity-unknown" } },
  });
  t.match(await old.identity.prepare(), null, "its token is spent, and it does not try it again");

  const fresh = await scene.joined("node-1");
  t.equal(await fresh.knock(), "welcome", "the host is back by a new token");
  t.equal(await old.knock(), "denied 401", "and its old certificate is not");
  await scene.http.restart();
  t.equal(await (await scene.again(fresh)).knock(), "welcome");
  t.equal(await (await scene.again(old)).knock(), "denied 401");
  t.match(scene.told("certificate-refused").at(-1), { why: "certificate-replaced" });
});

t.test("a token that was made before the revocation is no way back", async (t) => {
  const scene = await IdentityScene.open(t);
  await scene.joined("node-1");
  const spare = await scene.host("node-1", await scene.token("node-1"));
  await scene.say("/v1/agents/identities/node-1/revoke");
  await t.rejects(spare.identity.join(), { code: "token-ended" });
});

t.test("who joins with a new token replaces who was there: one identity, one host", async (t) => {
  const scene = await IdentityScene.open(t);
  const first = await scene.joined("node-1");
  const line = await first.dial();
  const second = await scene.joined("node-1");
  await line.closed;
  t.match(line.messages.at(-1), { type: "refused", error: { code: "identity-replaced" } });
  t.equal(await first.knock(), "denied 401");
  t.equal(await second.knock(), "welcome");
});

t.test("a certificate ends when its time is over, by belayd's clock", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  scene.moveClock(7 * DAY_MS - 10_000);
  t.equal(await host.knock(), "welcome");
  scene.moveClock(10_000);
  t.equal(await host.knock(), "denied 401");
  t.equal(await ask(scene, host), 401);
  scene.moveClock(-8 * DAY_MS);
  t.equal(await host.knock(), "denied 401", "nor before it begins");
  t.match(
    scene.told("certificate-refused").map(({ why }) => why),
    ["certificate-expired", "certificate-early"],
  );
});

t.test("OpenSSL's own clock ends it too", async (t) => {
  const scene = await IdentityScene.open(t, "identity: { hostCertificateSeconds: 2 }\n");
  const host = await scene.joined("node-1");
  t.equal(await host.knock(), "welcome");
  await sleep(2_500);
  // belayd's idea of the time is held back: what refuses now is TLS.
  scene.moveClock(-10_000);
  t.equal(await host.knock(), "denied 401");
});

t.test("a connection does not outlive its host's last certificate", async (t) => {
  let now = Date.now();
  const ended: unknown[] = [];
  const identity = await alone(t, {
    now: () => now,
    connected: {
      isPresent: (host) => host === "node-1",
      disconnect: (host, { code }) => ended.push([host, code]),
      announce: () => {},
    },
  });
  const redeem = async (host: string) => {
    const { token } = await identity.enrolment.createToken(host, 60_000, "tester");
    const redeemed = await identity.tokens.redeem({
      secretHash: createHash("sha256")
        .update(token.split(".").at(-1) ?? "")
        .digest("hex"),
      host,
      key: host,
      from: "127.0.0.1",
      at: now,
      certificateUntil: now + DAY_MS,
      trusts: [],
    });
    if (redeemed.ok) identity.identities.began(redeemed.identity);
  };
  await redeem("node-1");
  await redeem("away-1");
  const first = (await identity.server.current()).certificate;
  now += DAY_MS - 1;
  await identity.look();
  t.same(ended, []);
  now += 1;
  await identity.look();
  t.same(ended, [["node-1", "certificate-expired"]]);
  t.equal((await identity.server.current()).certificate, first);
  now += 4 * DAY_MS;
  await identity.look();
  t.not(
    (await identity.server.current()).certificate,
    first,
    "belayd's own was renewed by then, at two thirds of its life",
  );
});

t.test("nothing is handed out, and nothing ended, that is not on record by then", async (t) => {
  const recorded: IdentityEvent[] = [];
  const held: (() => void)[] = [];
  const identity = await alone(t, {
    tell: async (event) => {
      await new Promise<void>((resolve) => held.push(resolve));
      recorded.push(event);
    },
  });
  const settled: unknown[] = [];
  const acts = [
    () => identity.enrolment.createToken("node-1", 60_000, "ann"),
    () => identity.endTokens("node-1", "ann"),
    () => identity.rotation.rotate("ann"),
    () => identity.rotation.activate("ann", []),
    () => identity.rotation.retire("ann", []),
  ];
  for (const [index, act] of acts.entries()) {
    const acting = act().then(() => settled.push(index));
    await until(async () => held.length > 0 || "not yet", "something to record", 30_000);
    await sleep(50);
    t.equal(settled.length, index, "not before");
    held.pop()?.();
    await acting;
    t.equal(recorded.length, index + 1);
  }
});

t.test("identity reuse: a copy of a host is noticed, by what its connections do to each other", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  const dir = await mkdtemp(join(tmpdir(), "belay-clone-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await cp(host.dir, dir, { recursive: true });
  const clone = await scene.again({ ...host, dir } as HostAtDoor);
  let line = await host.dial();
  for (let turn = 0; turn < 6; turn += 1) {
    const next = await (turn % 2 === 0 ? clone : host).dial();
    t.equal(next.outcome, "welcome");
    t.match(await line.closed, /4409/, "the newer one replaces the older one");
    line = next;
  }
  line.end();
  t.match(scene.told("identity-cloned"), [{ host: "node-1", from: ["127.0.0.1"] }]);
});

t.test("identity reuse: a certificate that has a successor in use is of no use to who kept it", async (t) => {
  const scene = await IdentityScene.open(t, "identity: { hostCertificateSeconds: 86400 }\n");
  const host = await scene.joined("node-1");
  const dir = await mkdtemp(join(tmpdir(), "belay-clone-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await cp(host.dir, dir, { recursive: true });
  const stolen = await scene.again({ ...host, dir } as HostAtDoor);
  await renewNow(scene, host);
  t.equal(await stolen.knock(), "welcome", "what was begun with it may end: a minute's grace");
  scene.moveClock(61_000);
  t.equal(await stolen.knock(), "denied 401");
  t.equal(await (await scene.again(host)).knock(), "welcome");
  t.match(scene.told("certificate-refused").at(-1), { host: "node-1", why: "certificate-superseded" });
});

t.test("a host whose clock went back renews at once, and once, instead of much too late", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  await renewNow(scene, host, 3 * DAY_MS);
  const again = await scene.again(host, { lookMs: 10 });
  again.identity.start();
  await sleep(500);
  t.equal(scene.told("certificate-renewed").length, 1);
});

/** As a host does at two thirds of the life; its clock is told that it is then, or `aheadMs` before it came. */
async function renewNow(scene: IdentityScene, host: HostAtDoor, aheadMs?: number): Promise<void> {
  const file = new IdentityFile(host.dir);
  const held = await file.read();
  if (held === null) throw new Error("it has joined");
  await file.write({ ...held, obtainedAt: Date.now() + (aheadMs ?? -held.lifeMs) });
  const due = await scene.again(host, { lookMs: 10 });
  due.identity.start();
  const renewed = async () => (await file.read())?.certificate !== held.certificate;
  await until(async () => (await renewed()) || "not yet", "another certificate", 10_000);
  t.equal(await due.knock(), "welcome", "and shows it");
  await due.identity.halt();
}

/** What belayd knows of identities, without the rest of belayd. */
async function alone(t: Test, more: Partial<IdentityOptions>): Promise<Identity> {
  const dataDir = await mkdtemp(join(tmpdir(), "belay-identity-"));
  const store = openSqlite(dataDir);
  t.teardown(async () => {
    await store.close();
    await rm(dataDir, { recursive: true });
  });
  return Identity.open({
    dataDir,
    fleet: "acme",
    given: null,
    store,
    lifeMs: DAY_MS,
    names: () => ["127.0.0.1"],
    connected: { isPresent: () => false, disconnect: () => {}, announce: () => {} },
    now: Date.now,
    tell: async () => {},
    failed: (error) => t.fail(String(error)),
    ...more,
  });
}
