import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openLog, redact } from "@belay/controller/log";
import t from "tap";
import { stringify } from "yaml";
import { Browser } from "../support/identity-provider/browser.js";
import { CLIENT_ID, CLIENT_SECRET, IdentityProvider } from "../support/identity-provider/index.js";
import { HttpScene } from "./scene.js";

const REDIRECT = "http://localhost:7440/v1/login/callback";

t.test("whatever happens at its door, no secret is in belayd's log or in its errors", async (t) => {
  const idp = await IdentityProvider.start([REDIRECT]);
  t.teardown(() => idp.stop());
  idp.account = { sub: "1", preferred_username: "ann", groups: [] };
  const lines: string[] = [];
  const errors: string[] = [];
  const oidc = { issuer: idp.issuer, clientId: CLIENT_ID, clientSecretFile: "secret", redirectUri: REDIRECT };
  const scene = await HttpScene.open(t, stringify({ oidc: { ...oidc, roles: { operator: ["*"] } } }), {
    log: openLog("trace", { write: (line) => void lines.push(line) }),
    // Hours pass between any two questions, or guessing would end the test early.
    now: () => Date.now() + errors.length * 3_700_000,
    prepare: (dir) => writeFile(join(dir, "secret"), `${CLIENT_SECRET}\n`),
  });
  const secrets = new Map<string, string>([
    ["root's token", scene.token],
    ["the client's secret", CLIENT_SECRET],
    ["a wrong token", "Wr0ng-token-that-somebody-typed-in-anger-xyz"],
  ]);
  const ask = async (...request: Parameters<HttpScene["call"]>) => {
    const answer = await scene.call(...request);
    if (answer.status >= 400) errors.push(JSON.stringify([answer.body, [...answer.headers]]));
    return answer;
  };

  const browser = new Browser();
  const signIn = async () => {
    const { url } = await browser.follow(`${scene.daemon.address}/v1/login`, /\/v1\/login\/callback/);
    const { searchParams, search, pathname } = new URL(url);
    for (const name of ["code", "state"]) secrets.set(`${name} ${secrets.size}`, searchParams.get(name) ?? "none");
    for (const [name, value] of browser.cookiesOf(scene.daemon.address)) secrets.set(`${name} ${secrets.size}`, value);
    const response = await browser.visit(`${scene.daemon.address}${pathname}${search}`);
    if (response.status >= 400) errors.push(await response.text());
    for (const [name, value] of browser.cookiesOf(scene.daemon.address)) secrets.set(`${name} ${secrets.size}`, value);
    return response.status;
  };
  t.equal(await signIn(), 303);
  for (const forgery of [{ claims: { aud: "x" } }, { unsigned: true }, { foreignKey: true }]) {
    idp.forgery = forgery;
    t.equal(await signIn(), 403);
  }
  const device = await ask("POST", "/v1/login/device", { token: null, body: {} });
  secrets.set("a device's number", device.body.id as string);
  await ask("POST", "/v1/login/device/poll", { token: null, body: { id: device.body.id } });

  await rm(join(scene.dir, "fleet.yaml"));
  await idp.stop();
  const ann = await scene.personOf("bob", ["viewer"]);
  secrets.set("a user's token", ann);
  secrets.set("a host's token", await scene.tokenOf("node-1"));
  for (const token of secrets.values()) {
    for (const path of ["/v1/whoami", `/v1/status?token=${token}`, `/v1/nowhere/${token}`, "/v1/artifacts/x"]) {
      await ask("GET", path, { token });
      await ask("POST", path, { token, body: { token, secret: token } });
    }
    // What goes wrong inside, with all that is known of the request.
    await ask("POST", "/v1/plans", { token: scene.token, body: { to: token.slice(0, 60), clusters: [token] } });
    await ask("POST", "/v1/users", { token, body: { name: token, roles: [token] } });
    await ask("GET", `/v1/login/callback?code=${token}&state=${token}`, { token: null });
    await ask("GET", "/v1/whoami", {
      token: null,
      headers: { cookie: `belay-session=${token.padEnd(43, "x").slice(0, 43)}` },
    });
  }

  t.ok(lines.length > 10, `${lines.length} lines were logged`);
  t.ok(errors.length > 50, `${errors.length} errors were answered`);
  const log = lines.join("");
  for (const [what, secret] of secrets) {
    if (secret.length < 16) t.fail(`${what} is no secret: ${secret}`);
    if (log.includes(secret)) t.fail(`${what} is in the log: ${lines.find((line) => line.includes(secret))}`);
  }
  // Who sends a secret in a place where names belong is told so by that name; but never by another's.
  for (const what of ["root's token", "the client's secret"]) {
    const leak = errors.find((error) => error.includes(secrets.get(what) ?? "") && !error.includes("not-found"));
    if (leak !== undefined) t.fail(`${what} is in an error: ${leak}`);
  }
});

t.test("the last net: what looks like a secret is not written, and what doesn't, is", async (t) => {
  const token = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyMTI";
  const gone = [
    `Authorization: Bearer ${token}`,
    "bearer abcdefghijkl",
    `{"note":"belay_${token}"}`,
    `GET /v1/login/callback?code=abc&state=def`,
    `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl`,
    `cookie belay-session=${token};`,
  ];
  for (const line of gone) t.match(redact(line), "[redacted]", line);
  for (const line of gone) t.notMatch(redact(line), /Zm9v|abcdefgh|=abc|=def|eyJ/, line);
  const kept = [
    `run 20261123-214149-109b130a06/hop-1.main.node/node-1/3/1`,
    "a".repeat(64),
    `the-name-of-a-host-that-happens-to-be-long-1`.slice(0, 43),
    "http://127.0.0.1:7440/v1/status",
  ];
  for (const line of kept) t.equal(redact(line), line);
  const lines: string[] = [];
  const log = openLog("info", { write: (line) => void lines.push(line) });
  log.info({ headers: { authorization: "x", cookie: "y" }, token: "z", req: { headers: { authorization: "w" } } }, "m");
  t.match(JSON.parse(lines[0] ?? ""), {
    headers: { authorization: "[redacted]", cookie: "[redacted]" },
    token: "[redacted]",
    req: { headers: { authorization: "[redacted]" } },
  });
});
