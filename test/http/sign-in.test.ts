import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readClaims } from "@belay/controller/people/sign-in";
import t, { type Test } from "tap";
import { stringify } from "yaml";
import { Browser } from "../support/identity-provider/browser.js";
import { type Account, CLIENT_ID, CLIENT_SECRET, IdentityProvider } from "../support/identity-provider/index.js";
import { until } from "../support/real-fleet/until.js";
import { HttpScene } from "./scene.js";

/** As browsers would reach belayd; here they are led to where it really listens. */
const REDIRECT = "http://localhost:7440/v1/login/callback";
const ANN: Account = { sub: "id-of-ann", preferred_username: "Ann", groups: ["ops", "sre"] };
/** A device asks every five seconds. */
t.setTimeout(120_000);

const NOBODY = { viewer: [], operator: [], approver: [], admin: [] };
const MINUTE_MS = 60_000;

interface SignInScene {
  readonly scene: HttpScene;
  readonly idp: IdentityProvider;
  readonly clock: { ms: number };
}

async function open(t: Test): Promise<SignInScene> {
  const idp = await IdentityProvider.start([REDIRECT]);
  t.teardown(() => idp.stop());
  idp.account = ANN;
  const clock = { ms: 0 };
  const config = {
    oidc: {
      issuer: idp.issuer,
      clientId: CLIENT_ID,
      clientSecretFile: "secret",
      redirectUri: REDIRECT,
      scopes: ["openid", "profile", "groups"],
      roles: { operator: ["ops"], approver: ["sre"], viewer: ["staff"] },
      sessionHours: 8,
      idleMinutes: 30,
    },
  };
  const scene = await HttpScene.open(t, stringify(config), {
    now: () => Date.now() + clock.ms,
    prepare: (dir) => writeFile(join(dir, "secret"), `${CLIENT_SECRET}\n`),
  });
  return { scene, idp, clock };
}

/** Up to where the provider sends the browser back with its answer. */
async function upToCallback({ scene }: SignInScene, browser: Browser, query = ""): Promise<string> {
  const { url } = await browser.follow(`${scene.daemon.address}/v1/login${query}`, /\/v1\/login\/callback/);
  return `${scene.daemon.address}${url.slice(new URL(url).origin.length)}`;
}

async function signIn(all: SignInScene, browser = new Browser()): Promise<{ browser: Browser; response: Response }> {
  return { browser, response: await browser.visit(await upToCallback(all, browser)) };
}

async function refusalAt(browser: Browser, callback: string): Promise<string> {
  const response = await browser.visit(callback);
  const { error } = (await response.json()) as { error?: { code: string; message: string } };
  return `${response.status} ${error?.code}: ${error?.message}`;
}

t.test("a browser signs in, asks as that person, changes things from our pages alone, and signs out", async (t) => {
  const all = await open(t);
  const { address } = all.scene.daemon;
  const { browser, response } = await signIn(all);
  t.equal(response.status, 303);
  t.equal(response.headers.get("location"), "/");
  const cookies = response.headers.getSetCookie().join("\n");
  t.match(cookies, /belay-session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=2\d{4}/);
  t.notMatch([...browser.cookiesOf(address).keys()], ["belay-login"], "the sign-in's own cookie is gone");
  const me = (await (await browser.visit(`${address}/v1/whoami`)).json()) as object;
  t.match(me, {
    name: "ann",
    roles: ["viewer", "operator", "approver"],
    groups: ["ops", "sre"],
    via: "browser session",
  });

  const make = (headers: Record<string, string>) =>
    browser.visit(`${address}/v1/tokens`, {
      method: "POST",
      body: JSON.stringify({ name: "from a page" }),
      headers: { "content-type": "application/json", ...headers },
    });
  for (const headers of [
    {},
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
    { origin: "https://evil.example" },
    { origin: "null" },
    { origin: address, "sec-fetch-site": "cross-site" },
    { origin: "https://evil.example", "sec-fetch-site": "same-origin" },
  ]) {
    const refused = await make(headers as Record<string, string>);
    t.equal(refused.status, 403, JSON.stringify(headers));
    t.match(await refused.json(), { error: { code: "cross-site" } });
  }
  t.equal((await make({ origin: address })).status, 200);
  t.equal((await make({ "sec-fetch-site": "same-origin" })).status, 200);

  const stolen = browser.cookiesOf(address).get("belay-session") ?? "";
  t.equal((await browser.visit(`${address}/v1/logout`, { method: "POST", headers: { origin: address } })).status, 200);
  const thief = new Browser();
  thief.setCookie(address, "belay-session", stolen);
  t.equal((await thief.visit(`${address}/v1/whoami`)).status, 401, "what was signed out of is over for everybody");
});

t.test(
  "a session ends when it is not used, after its time, and with its user; signing in makes a new one",
  async (t) => {
    const all = await open(t);
    const { scene, clock } = all;
    const { address } = scene.daemon;
    const status = async (browser: Browser) => (await browser.visit(`${address}/v1/whoami`)).status;
    const planted = new Browser();
    planted.setCookie(address, "belay-session", "A".repeat(43));
    const { browser } = await signIn(all, planted);
    const first = browser.cookiesOf(address).get("belay-session") ?? "";
    t.not(first, "A".repeat(43), "nobody can plant a session");
    await signIn(all, browser);
    const old = new Browser();
    old.setCookie(address, "belay-session", first);
    t.equal(await status(old), 401, "the session before ends with the new one");
    t.equal(await status(browser), 200);

    for (let used = 0; used < 3; used++) {
      clock.ms += 20 * MINUTE_MS;
      t.equal(await status(browser), 200, "it is used");
    }
    clock.ms += 31 * MINUTE_MS;
    t.equal(await status(browser), 401, "it was not used");

    await signIn(all, browser);
    for (let minutes = 0; minutes < 8 * 60; minutes += 20) {
      t.equal(await status(browser), 200);
      clock.ms += 20 * MINUTE_MS;
    }
    t.equal(await status(browser), 401, "it is old");

    await signIn(all, browser);
    await scene.call("DELETE", "/v1/users/ann");
    t.equal(await status(browser), 401, "its user is gone");
    t.match(await refusalAt(browser, await upToCallback(all, browser)), /^403 sign-in-refused: ann was removed/);
  },
);

t.test("a sign-in is believed only as it was begun: state, PKCE, nonce, once, in the same browser", async (t) => {
  const all = await open(t);
  const begun = async () => {
    const browser = new Browser();
    return { browser, callback: new URL(await upToCallback(all, browser)) };
  };
  const one = await begun();
  one.callback.searchParams.set("state", "another");
  t.match(await refusalAt(one.browser, one.callback.href), /^403 sign-in-refused: .*state/);

  // An attacker's own code in somebody else's sign-in: the provider knows that it was not asked for with this verifier.
  const [attacker, victim] = [await begun(), await begun()];
  victim.callback.searchParams.set("code", attacker.callback.searchParams.get("code") ?? "");
  t.match(await refusalAt(victim.browser, victim.callback.href), /^403 sign-in-refused: .*invalid_grant/);

  const lured = await begun();
  t.match(await refusalAt(new Browser(), lured.callback.href), /^403 sign-in-refused: .*not begun in this browser/);
  t.equal((await lured.browser.visit(lured.callback.href)).status, 303);
  t.match(await refusalAt(lured.browser, lured.callback.href), /^403 sign-in-refused: .*not begun/, "once");

  const late = await begun();
  all.clock.ms += 11 * MINUTE_MS;
  t.match(await refusalAt(late.browser, late.callback.href), /^403 sign-in-refused: .*too long ago/);
  all.clock.ms = 0;

  const mixed = await begun();
  mixed.callback.searchParams.set("iss", "https://other.example");
  t.match(await refusalAt(mixed.browser, mixed.callback.href), /^403 sign-in-refused: .*iss/, "from another provider");

  all.idp.account = null;
  const denied = await begun();
  t.match(await refusalAt(denied.browser, denied.callback.href), /^403 sign-in-refused: .*access_denied/);
});

t.test("ID tokens that are not what they should be are refused", async (t) => {
  const all = await open(t);
  const hour = Math.floor(Date.now() / 1000) - 3_600;
  const forgeries = {
    "another nonce": { why: '"nonce" claim', claims: { nonce: "replayed" } },
    "no nonce": { why: "nonce", claims: { nonce: undefined } },
    "another audience": { why: "audience", claims: { aud: "somebody-else" } },
    "another issuer": { why: "issuer", claims: { iss: "https://evil.example" } },
    expired: { why: "expiration", claims: { exp: hour, iat: hour - 600 } },
    "from the future": { why: "not before", claims: { nbf: hour + 7_200 } },
    "no subject": { why: "subject", claims: { sub: undefined } },
    "alg none": { why: '"alg" header', unsigned: true },
    "a key that nobody published": { why: "signature", foreignKey: true },
  };
  for (const [what, { why, ...forgery }] of Object.entries(forgeries)) {
    all.idp.forgery = forgery;
    const browser = new Browser();
    t.match(
      await refusalAt(browser, await upToCallback(all, browser)),
      new RegExp(`^403 sign-in-refused: .*${why}`),
      what,
    );
  }
  t.match(await all.scene.call("GET", "/v1/users"), { body: [] }, "nobody came in");
  all.idp.forgery = { claims: {} };
  t.equal((await signIn(all)).response.status, 303, "and what is only signed anew is fine");
});

t.test("who is who: names, roles, and nobody becomes somebody else", async (t) => {
  const all = await open(t);
  const { scene, idp } = all;
  const outcome = async (account: Account) => {
    idp.account = account;
    const browser = new Browser();
    const response = await browser.visit(await upToCallback(all, browser));
    if (response.status === 303)
      return (await (await browser.visit(`${scene.daemon.address}/v1/whoami`)).json()) as object;
    return ((await response.json()) as { error: { message: string } }).error.message;
  };
  t.match(await outcome(ANN), { name: "ann" });
  t.match(await outcome({ ...ANN, preferred_username: "bob", groups: ["sre"] }), {
    name: "ann",
    roles: ["viewer", "approver"],
  });
  t.match(await outcome({ ...ANN, sub: "id-of-mallory" }), /ann is somebody else here/);
  await scene.call("POST", "/v1/users", { body: { name: "carl", roles: ["admin"] } });
  t.match(await outcome({ sub: "c", preferred_username: "CARL", groups: ["ops"] }), /carl is somebody else here/);
  for (const name of ["root", "belayd", "../x", "a b", "x".repeat(200), "ann\u0000"]) {
    t.match(
      await outcome({ sub: `of-${name.length}-${name}`, preferred_username: name, groups: ["ops"] }),
      /can't be somebody's name/,
    );
  }
  t.match(await outcome({ sub: "d", preferred_username: "dora", groups: ["sales"] }), /no role is meant for dora/);
  t.match(await outcome({ sub: "e", preferred_username: "emil" }), /no role is meant for emil/);
  t.match(await outcome({ sub: "f", groups: ["ops"] }), /says nothing of preferred_username/);
  const change = await scene.call("POST", "/v1/users/ann", { body: { roles: ["admin"] } });
  t.match(change, { status: 409, body: { error: { code: "user-managed" } } });
});

t.test("the command line signs in by a code that is typed elsewhere", async (t) => {
  const all = await open(t);
  const { scene, idp } = all;
  const call = (path: string, body: object) => scene.call("POST", `/v1/login/device${path}`, { token: null, body });
  const begun = (await call("", {})).body as unknown as { id: string; code: string; url: string; urlWithCode: string };
  t.match(begun, { code: /^[A-Z]{4}-[A-Z]{4}$/, url: `${idp.issuer}/device` });
  t.match(await call("/poll", { id: begun.id }), { status: 200, body: { token: null } });
  t.match(await call("/poll", { id: "A".repeat(43) }), { status: 403 }, "the code's number is a secret");
  const { response } = await new Browser().follow(begun.urlWithCode);
  t.match(await response?.text(), "signed in");
  let token: string | null = null;
  await until(
    async () => {
      ({ token } = (await call("/poll", { id: begun.id })).body as unknown as { token: string | null });
      return token !== null || "not yet";
    },
    "the sign-in",
    60_000,
  );
  const me = await scene.call("GET", "/v1/whoami", { token });
  t.match(me, { body: { name: "ann", roles: ["viewer", "operator", "approver"], via: "token belay login" } });
  t.match(await call("/poll", { id: begun.id }), { status: 403 }, "once");
  all.clock.ms += 8 * 60 * MINUTE_MS;
  t.match(await scene.call("GET", "/v1/whoami", { token }), { status: 401 }, "it lives as long as a sign-in");
  all.clock.ms = 0;

  idp.account = null;
  const denied = (await call("", {})).body as unknown as { id: string; urlWithCode: string };
  await new Browser().follow(denied.urlWithCode);
  let answer = await call("/poll", { id: denied.id });
  await until(
    async () => {
      if (answer.status === 200) answer = await call("/poll", { id: denied.id });
      return answer.status !== 200 || "not yet";
    },
    "the refusal",
    60_000,
  );
  t.match(answer, { status: 403, body: { error: { code: "sign-in-refused", message: /access_denied/ } } });
});

t.test("a code's token is checked as a browser's; sign-ins that nobody finishes keep nobody else out", async (t) => {
  const all = await open(t);
  const begin = () => all.scene.call("POST", "/v1/login/device", { token: null, body: {} });
  all.idp.forgery = { foreignKey: true };
  const { id, urlWithCode } = (await begin()).body as unknown as { id: string; urlWithCode: string };
  await new Browser().follow(urlWithCode);
  const poll = () => all.scene.call("POST", "/v1/login/device/poll", { token: null, body: { id } });
  let answer = await poll();
  await until(
    async () => {
      if (answer.status === 200) answer = await poll();
      return answer.status !== 200 || "not yet";
    },
    "the refusal",
    60_000,
  );
  t.match(answer, { status: 403, body: { error: { code: "sign-in-refused", message: /signature/ } } });

  for (let begun = 0; begun < 10; begun++) t.equal((await begin()).status, 200);
  t.match(await begin(), { status: 503, body: { error: { code: "too-many-sign-ins" } } });
  all.clock.ms += 11 * MINUTE_MS;
  t.equal((await begin()).status, 200, "those are forgotten");
});

t.test("nobody is sent to another site, and a provider that is away is said to be", async (t) => {
  const all = await open(t);
  for (const place of [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "/a\nb",
    "x",
  ]) {
    const answer = await all.scene.call("GET", `/v1/login?return=${encodeURIComponent(place)}`, { token: null });
    t.match(answer, { status: 400 }, place);
  }
  const browser = new Browser();
  const back = await browser.visit(await upToCallback(all, browser, "?return=%2Fv1%2Fstatus%3Fx%3D1"));
  t.equal(back.headers.get("location"), "/v1/status?x=1");

  const down = await open(t);
  await down.idp.stop();
  t.match(await down.scene.call("GET", "/v1/login", { token: null }), {
    status: 503,
    body: { error: { code: "provider-unreachable" } },
  });
  t.match(await down.scene.call("GET", "/v1/whoami"), { status: 200 }, "tokens go on working");
  const none = await HttpScene.open(t);
  t.match(await none.call("GET", "/v1/login", { token: null }), {
    status: 400,
    body: { error: { code: "sign-in-not-here" } },
  });
});

t.test("an address is a name only when the provider has verified it", async (t) => {
  const config = { claims: { name: "email", groups: "groups" }, roles: { ...NOBODY, admin: ["*"] } };
  const claims = { iss: "https://id.example", sub: "1", email: "Ann@Example.com" };
  t.match(readClaims({ ...claims, email_verified: true }, config), { name: "ann@example.com", roles: ["admin"] });
  for (const email_verified of [undefined, false, "true"]) {
    t.throws(() => readClaims({ ...claims, email_verified }, config), { code: "sign-in-refused" });
  }
});
