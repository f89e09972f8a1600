import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { AuthorityView } from "@belay/controller/api/contract";
import { Authorities } from "@belay/controller/identity/authorities";
import { Authority } from "@belay/controller/identity/authority";
import { ServerCertificate } from "@belay/controller/identity/server-certificate";
import { type Authorities as AuthoritiesMessage, authoritiesText, type RenewRequest } from "@belay/shared";
import t, { type Test } from "tap";
import { until } from "../support/real-fleet/until.js";
import { type HostAtDoor, IdentityScene, Line } from "./scene.js";

const PATIENCE_MS = 20_000;

async function show(scene: IdentityScene): Promise<AuthorityView[]> {
  return (await scene.http.call("GET", "/v1/authorities")).body as unknown as AuthorityView[];
}

/** Waits until belayd has heard what was just sent to it. */
function untilTrusted(scene: IdentityScene, phase: string, by: number): Promise<void> {
  const look = async () => {
    const standing = await show(scene);
    return standing.find((one) => one.phase === phase)?.trustedBy === by || JSON.stringify(standing);
  };
  return until(look, `${by} hosts trust the ${phase} authority`, PATIENCE_MS);
}

/** Waits for the next word of authorities after `heard` of them. */
function untilTold(line: Line, heard: number): Promise<void> {
  const count = () => line.messages.filter(({ type }) => type === "authorities").length;
  return until(async () => count() > heard || `${count()} times`, "told of authorities", PATIENCE_MS);
}

/** Renews at once: the certificate that it has is of another than the one that issues. */
async function renews(t: Test, scene: IdentityScene, host: HostAtDoor): Promise<HostAtDoor> {
  const before = host.identity.held?.certificate;
  const live = await scene.again(host, { lookMs: 10 });
  const line = await live.dial();
  await untilTold(line, 0);
  await line.keepTrust(live);
  live.identity.start();
  await until(async () => live.identity.held?.certificate !== before || "not yet", "another certificate", PATIENCE_MS);
  t.equal(await live.knock(), "welcome");
  await live.identity.halt();
  line.end();
  return live;
}

t.test("an authority takes another's place with no host touched, phase by phase", async (t) => {
  const scene = await IdentityScene.open(t);
  const [one, two] = [await scene.joined("node-1"), await scene.joined("auth-1")];
  const [line, otherLine] = [await one.dial(), await two.dial()];
  await Promise.all([untilTold(line, 0), untilTold(otherLine, 0)]);
  const [first] = await show(scene);
  t.match(first, { phase: "active", trustedBy: 2, notTrustedBy: [], issuedTo: ["auth-1", "node-1"] });
  const spare = await scene.host("spare-1", await scene.token("spare-1"));

  t.match(await scene.say("/v1/authorities/activate"), { status: 409, body: { error: { code: "rotation-missing" } } });
  t.match(await scene.say("/v1/authorities/retire"), { status: 409, body: { error: { code: "rotation-missing" } } });
  t.equal((await scene.say("/v1/authorities/rotate")).status, 200);
  t.match(await scene.say("/v1/authorities/rotate"), { status: 409, body: { error: { code: "rotation-open" } } });
  await Promise.all([untilTold(line, 1), untilTold(otherLine, 1)]);

  await line.keepTrust(one);
  await untilTrusted(scene, "next", 1);
  t.match(await scene.say("/v1/authorities/activate"), {
    status: 409,
    body: { error: { code: "hosts-would-be-lost", message: /auth-1/, context: { hosts: ["auth-1"] } } },
  });
  await otherLine.keepTrust(two);
  await untilTrusted(scene, "next", 2);
  t.match(await scene.say("/v1/authorities/activate"), { status: 200, body: { tokensEnded: ["spare-1"] } });
  await t.rejects(spare.identity.join(), { code: "controller-unknown" }, "its token named the other one");

  await scene.http.restart();
  const [active, former] = await show(scene);
  t.match([active?.phase, former?.phase, former?.pin], ["active", "trusted", first?.pin]);
  t.equal(await (await scene.again(one)).knock(), "welcome", "certificates of the former one still count");
  t.match(await scene.say("/v1/authorities/retire"), {
    status: 409,
    body: { error: { code: "hosts-would-be-lost", context: { hosts: ["auth-1", "node-1"] } } },
  });
  const renewed = await renews(t, scene, await scene.again(one));
  t.equal(renewed.identity.held?.issuer, active?.pin);
  t.match(await scene.say("/v1/authorities/retire"), {
    status: 409,
    body: { error: { context: { hosts: ["auth-1"] } } },
  });
  t.match(await scene.say("/v1/authorities/retire", { lose: ["auth-2"] }), { status: 409 }, "by its own name alone");
  t.equal((await scene.say("/v1/authorities/retire", { lose: ["auth-1"] })).status, 200);
  t.match(scene.told("hosts-lost"), [{ hosts: ["auth-1"] }]);

  const [only, ...more] = await show(scene);
  t.same([only?.pin, more], [active?.pin, []]);
  t.same(
    (await readdir(scene.authorityDir)).sort(),
    [`${only?.pin}.key`, "authorities.json"].sort(),
    "its key is gone",
  );
  t.equal(await (await scene.again(renewed)).knock(), "welcome");
  t.not(await (await scene.again(two)).knock(), "welcome", "a host that was named is lost, as was said");
  t.equal(await (await scene.joined("node-3")).knock(), "welcome");
  t.same(
    ["ca-made", "ca-activated", "ca-retired"].map((type) => scene.events.filter((event) => event.type === type).length),
    [1, 1, 1],
  );
});

t.test("a rotation that was not activated is called off, and nobody is lost by that", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  const [first] = await show(scene);
  await scene.say("/v1/authorities/rotate");
  t.equal((await scene.say("/v1/authorities/retire")).status, 200);
  t.match(await show(scene), [{ pin: first?.pin, phase: "active" }]);
  t.equal(await host.knock(), "welcome");
});

t.test("a host that was away during a rotation is a host that would be lost; a revoked one is not", async (t) => {
  const scene = await IdentityScene.open(t);
  await scene.joined("node-1");
  await scene.say("/v1/authorities/rotate");
  t.match(await scene.say("/v1/authorities/activate"), {
    status: 409,
    body: { error: { context: { hosts: ["node-1"] } } },
  });
  await scene.say("/v1/agents/identities/node-1/revoke");
  t.match(await scene.say("/v1/authorities/activate"), { status: 200 });
});

t.test("an agent takes no set of authorities over that has nothing to do with its own", async (t) => {
  const [scene, other] = [await IdentityScene.open(t), await IdentityScene.open(t)];
  const host = await scene.joined("node-1");
  const [foreign] = await show(other);
  const [ours] = await show(scene);
  const said: AuthoritiesMessage = {
    type: "authorities",
    certificates: [foreign?.certificate ?? ""],
    issuing: foreign?.pin ?? "",
    vouch: { at: 1, signature: "AAAA" },
  };
  await t.rejects(host.identity.trust(said), { code: "authorities-foreign" });
  const leaf = host.identity.held?.certificate ?? "";
  await t.rejects(host.identity.trust({ ...said, certificates: [ours?.certificate ?? "", leaf] }), {
    code: "answer-malformed",
  });
  t.same(host.identity.held?.authorities, [ours?.certificate]);
  t.equal(await host.knock(), "welcome");
});

function lastWord(line: Line): AuthoritiesMessage {
  const last = line.messages.findLast((message) => message.type === "authorities");
  if (last?.type !== "authorities") throw new Error("nothing was said of authorities");
  return last;
}

t.test("who has a live connection, and no authority's key, makes nobody trust another authority", async (t) => {
  const scene = await IdentityScene.open(t);
  const { identity } = await scene.joined("node-1");
  const line = await Line.open(identity, "node-1");
  await untilTold(line, 0);
  const word = lastWord(line);
  const mine = await Authority.read(await Authority.make(Date.now()));
  const certificates = [...word.certificates, mine.certificate];
  const at = Date.now() + 1_000;
  const signature = mine.vouch(authoritiesText({ fleet: identity.held?.fleet ?? "", certificates, at }));
  const before = identity.held;
  const tries: [string, AuthoritiesMessage][] = [
    ["another list under a signature that was heard", { ...word, certificates }],
    ["in its own name", { ...word, certificates, issuing: mine.pin, vouch: { at, signature } }],
    ["in another's name", { ...word, certificates, vouch: { at, signature } }],
    ["as the one that issues", { ...word, issuing: mine.pin }],
    ["at another time", { ...word, vouch: { ...word.vouch, at } }],
  ];
  for (const [why, said] of tries) await t.rejects(identity.trust(said), { code: "authorities-unvouched" }, why);
  t.equal(identity.held, before);
  t.same(await identity.trust(word), [word.issuing]);
  line.end();
});

t.test("a list of authorities from before a rotation ended is known as that", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  const line = await host.dial();
  await untilTold(line, 0);
  scene.moveClock(1_000);
  await scene.say("/v1/authorities/rotate");
  await untilTold(line, 1);
  await line.keepTrust(host);
  const during = lastWord(line);
  t.equal(during.certificates.length, 2);
  scene.moveClock(1_000);
  await scene.say("/v1/authorities/retire");
  await untilTold(line, 2);
  await line.keepTrust(host);
  line.end();
  const live = await scene.again(host);
  await t.rejects(live.identity.trust(during), { code: "authorities-outdated" }, "also after a restart");
  t.equal(live.identity.held?.authorities.length, 1);
});

t.test(
  "who has belayd's own certificate, and no authority's key, renews no host into another fleet's hands",
  async (t) => {
    const scene = await IdentityScene.open(t);
    const { name, dir, identity } = await scene.joined("node-1");
    const { fleet = "", authorities: ours = [] } = identity.held ?? {};
    const known = await Authorities.open({ dir: scene.authorityDir, fleet, given: null, now: Date.now() });
    const stolen = await new ServerCertificate({
      authorities: known,
      names: () => ["127.0.0.1"],
      now: Date.now,
      failed: (error) => t.fail(String(error)),
    }).current();
    const mine = await Authority.read(await Authority.make(Date.now()));
    let asked = 0;
    const server = createServer({ cert: stolen.certificate, key: stolen.key }, async (request, response) => {
      asked += 1;
      const { key } = JSON.parse(await text(request)) as RenewRequest;
      const now = Date.now();
      const what = { fleet, host: name, key: Buffer.from(key, "base64"), serial: "01", now, lifeMs: 60_000 };
      const authorities = [...ours, mine.certificate];
      const signature = mine.vouch(authoritiesText({ fleet, certificates: authorities, at: now }));
      response.end(
        JSON.stringify({
          certificate: await mine.issueHost(what),
          lifeMs: 60_000,
          authorities,
          issuer: mine.pin,
          vouch: { at: now, signature },
        }),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.teardown(() => void server.close());
    const file = join(dir, "identity", "current.json");
    const due = { ...JSON.parse(await readFile(file, "utf8")), obtainedAt: 0 };
    await writeFile(file, JSON.stringify(due));
    const base = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const live = await scene.again({ name, dir }, { lookMs: 10, base });
    live.identity.start();
    await until(async () => asked > 1 || `${asked} times`, "asked, refused and asked again", PATIENCE_MS);
    await live.identity.halt();
    t.same(JSON.parse(await readFile(file, "utf8")), due, "what it had is what it has");
  },
);

t.test("an authority that is brought along is the first, or the next", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "belay-ca-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const [certificate, key] = [join(dir, "ca.pem"), join(dir, "ca.key")];
  const made = await Authority.make(Date.now());
  await writeFile(certificate, made.certificate);
  await writeFile(key, made.key, { mode: 0o600 });
  const given = { certificate, key };
  const { pin } = await Authority.read(made);

  const first = await Authorities.open({ dir: join(dir, "first"), fleet: "acme", given, now: 1 });
  t.match(first.standing, [{ phase: "active", given: true, authority: { pin } }]);
  t.same(await readdir(join(dir, "first")), ["authorities.json"], "its key stays where it was");
  const own = await Authorities.open({ dir: join(dir, "later"), fleet: "acme", given: null, now: 1 });
  const later = await Authorities.open({ dir: join(dir, "later"), fleet: "other", given, now: 2 });
  t.match(later.standing, [
    { phase: "active", given: false, authority: { pin: own.active.pin } },
    { phase: "next", given: true, authority: { pin } },
  ]);
  t.equal(later.fleet, "acme", "the name that certificates carry stays");
  await later.activate(3);
  await later.retire();
  t.same(await readdir(join(dir, "later")), ["authorities.json"]);

  await chmod(key, 0o640);
  await t.rejects(Authorities.open({ dir: join(dir, "x"), fleet: "acme", given, now: 1 }), { code: "ca-exposed" });
  await chmod(key, 0o600);
  await writeFile(key, (await Authority.make(Date.now())).key);
  await t.rejects(Authorities.open({ dir: join(dir, "x"), fleet: "acme", given, now: 1 }), { code: "ca-invalid" });
});

t.test("certificates call the fleet what it was called when the first token was made", async (t) => {
  const scene = await IdentityScene.open(t);
  const rename = async (fleet: string) => {
    const file = join(scene.http.dir, "fleet.yaml");
    await writeFile(file, (await readFile(file, "utf8")).replace(/^fleet: .*$/m, `fleet: ${fleet}`));
    await scene.http.restart();
  };
  await rename("real");
  const host = await scene.joined("node-1");
  t.equal(host.identity.held?.fleet, "real");
  await rename("other");
  t.equal(await (await scene.again(host)).knock(), "welcome");
  t.equal((await scene.joined("auth-1")).identity.held?.fleet, "real");
});

t.test("belayd does not start with an authority that others can read, or that is damaged", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "belay-ca-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const open = () => Authorities.open({ dir, fleet: "acme", given: null, now: Date.now() });
  const { active } = await open();
  t.equal((await open()).active.pin, active.pin, "it is made once");
  t.ok(new X509Certificate(active.certificate).ca);
  const key = join(dir, `${active.pin}.key`);
  await chmod(key, 0o644);
  await t.rejects(open(), { code: "ca-exposed", message: new RegExp(active.pin) });
  await chmod(key, 0o600);
  // A crash between the key and the record of it: nobody knows that key.
  await writeFile(join(dir, `${"0".repeat(64)}.key`), "half a", { mode: 0o600 });
  await open();
  t.notOk((await readdir(dir)).includes(`${"0".repeat(64)}.key`));
  await writeFile(join(dir, "authorities.json"), "{");
  await t.rejects(open(), { code: "ca-damaged" });
});
