import t, { type Test } from "tap";
import { belay } from "./belay.js";
import { type Answer, FakeBelayd, refuse } from "./belayd.js";
import { START } from "./samples.js";

const PIN = "0123456789abcdef".repeat(4);
const HOUR_MS = 3_600_000;

async function belayd(t: Test, routes: Readonly<Record<string, Answer>>): Promise<FakeBelayd> {
  const peer = await FakeBelayd.start(routes);
  t.teardown(() => peer.stop());
  return peer;
}

const TOKEN = {
  host: "node-1",
  state: "used",
  createdAt: START,
  createdBy: "root",
  expiresAt: START + HOUR_MS,
  usedAt: START,
  usedFrom: "10.0.0.7",
  refusals: 2,
  refused: { at: START, from: "10.0.0.66", why: "token-used" },
};

t.test("what became of each token, a second use included", async (t) => {
  const plain = { ...TOKEN, host: "near-1", state: "plaintext", expiresAt: null, usedAt: null, usedFrom: null };
  const peer = await belayd(t, { "GET /v1/agents/tokens": [TOKEN, { ...plain, refusals: 0, refused: null }] });
  const { out } = await belay(["agent", "token", "list"], peer);
  t.match(out, /^HOST +STATE +MADE +UNTIL +USED +REFUSED\n/);
  t.match(out, /node-1 +used .* from 10\.0\.0\.7 +2x, last .* from 10\.0\.0\.66: token-used\n/);
  t.match(out, /near-1 +plaintext .* for ever +never\n/);
});

t.test("a token's life is asked for in seconds, and nonsense is refused before anything is asked", async (t) => {
  const peer = await belayd(t, { "POST /v1/agents/tokens": { host: "node-1", token: "secret", expiresAt: START } });
  const create = (...more: string[]) => belay(["agent", "token", "create", "--host", "node-1", ...more], peer);
  t.equal((await create("--ttl", "15m")).out, "secret\n");
  await create();
  await create("--plaintext");
  t.same(
    peer.asked.map(({ body }) => body),
    [{ host: "node-1", ttlSeconds: 900 }, { host: "node-1" }, { host: "node-1", plaintext: true }],
  );
  t.match(await create("--ttl", "soon"), { code: 1, err: /--ttl soon is no duration/ });
  t.match(await create("--ttl", "10ms"), { code: 1 });
  t.equal(peer.asked.length, 3);
});

t.test("who has joined, until when, and ending it", async (t) => {
  const identity = { host: "node-1", present: true, generation: 2, joinedAt: START, issuer: PIN, revoked: null };
  const revoked = { at: START, by: "olga", reason: "stolen disk" };
  const path = "/v1/agents/identities";
  const peer = await belayd(t, {
    [`GET ${path}`]: [
      { ...identity, expiresAt: 4_102_444_800_000 },
      { ...identity, host: "node-2", present: false, generation: 1, expiresAt: 1 },
      { ...identity, host: "node-3", present: false, issuer: null, expiresAt: START, revoked },
    ],
    [`POST ${path}/node-1/revoke`]: {},
  });
  const { out } = await belay(["agent", "list"], peer);
  t.match(out, /node-1 +connected .*\(2\. time\) +until 2\d{3}-.* 0123456789abcdef\n/);
  t.match(out, /node-2 +offline .* ended 19/);
  t.match(out, /node-3 +offline .* revoked .* by olga: stolen disk\n/);
  t.match(await belay(["agent", "revoke", "node-1"], peer), { code: 1, err: /--reason/ });
  t.same(await belay(["agent", "revoke", "node-1", "--reason", "sold"], peer), {
    code: 0,
    out: "identity of node-1 revoked\n",
    err: "",
  });
  t.same(peer.askedOf(`POST ${path}/node-1/revoke`)[0]?.body, { reason: "sold" });
});

t.test("an authority, phase by phase; who would be lost is said by name", async (t) => {
  const active = {
    pin: PIN,
    phase: "active",
    since: START,
    validUntil: START,
    certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    trustedBy: 2,
    notTrustedBy: [],
    issuedTo: ["node-1", "node-2"],
  };
  const next = { ...active, pin: "f".repeat(64), phase: "next", trustedBy: 1, notTrustedBy: ["node-2"], issuedTo: [] };
  const lost = { code: "hosts-would-be-lost", message: "1 hosts still need it: node-2", hint: "--lose HOST" };
  const peer = await belayd(t, {
    "GET /v1/authorities": [active, next],
    "POST /v1/authorities/rotate": [active, next],
    "POST /v1/authorities/activate": { authorities: [active], tokensEnded: ["node-9"] },
    "POST /v1/authorities/retire": (_asked, response) => refuse(response, 409, lost),
  });
  const shown = await belay(["ca", "show"], peer);
  t.match(shown.out, new RegExp(`active +${PIN}`));
  t.match(shown.out, /next +f{64}\n[\s\S]*trusted by +1 host, not yet by node-2\nissued to +0 hosts/);
  t.equal((await belay(["ca", "show", "--pem"], peer)).out, active.certificate.repeat(2));
  t.match(await belay(["ca", "rotate"], peer), { code: 0, out: /next/ });
  const activated = await belay(["ca", "activate", "--lose", "db-7,db-8", "--reason", "yearly"], peer);
  t.match(activated, { code: 0, err: /unused tokens ended: node-9/ });
  t.same(peer.askedOf("POST /v1/authorities/activate")[0]?.body, { lose: ["db-7", "db-8"], reason: "yearly" });
  t.match(await belay(["ca", "retire"], peer), { code: 1, err: /hosts-would-be-lost.*node-2/ });
});
