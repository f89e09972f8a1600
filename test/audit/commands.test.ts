import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AuditEntry } from "@belay/controller/audit/entry";
import { logInFolder } from "@belay/controller/audit/files";
import { verifyLog } from "@belay/controller/audit/verify";
import t from "tap";
import { everyRoute } from "../http/routes.js";
import { HttpScene } from "../http/scene.js";

async function entriesOf(scene: HttpScene, query = ""): Promise<AuditEntry[]> {
  return (await scene.call("GET", `/v1/audit?limit=1000${query}`)).body.entries as unknown as AuditEntry[];
}

t.test("a command is on record before it is done and when it is, by whom and from where", async (t) => {
  const scene = await HttpScene.open(t);
  const answer = await scene.call("POST", "/v1/hosts/node-1/quarantine", {
    body: { reason: "disk is dying" },
  });
  t.equal(answer.status, 200);
  const [done, asked] = await entriesOf(scene, "&action=host-quarantine");
  t.match(asked, {
    phase: "asked",
    who: { name: "root", how: /token/ },
    from: { address: "127.0.0.1", door: /^http 127\.0\.0\.1:\d+$/ },
    about: { host: "node-1", reason: "disk is dying" },
  });
  t.match(done, { phase: "done", of: asked?.seq, after: { "quarantine.reason": "disk is dying" } });
  await scene.call("POST", "/v1/hosts/node-1/release", { body: {} });
  const [, released] = await entriesOf(scene, "&action=host-release");
  t.match(released, { before: { quarantinedFor: "disk is dying" } });
});

t.test("what is refused is on record too, with why", async (t) => {
  const scene = await HttpScene.open(t);
  await scene.call("POST", "/v1/hosts/node-1/quarantine", { body: {} });
  const [refused, asked] = await entriesOf(scene);
  t.match(refused, { action: "host-quarantine", phase: "refused", of: asked?.seq, error: "reason-missing" });
  await scene.call("POST", "/v1/runs/no-such-run/pause", { body: {} });
  t.match((await entriesOf(scene))[0], { action: "run-pause", phase: "refused", error: "run-unknown" });
});

t.test("strangers are counted, a line for all of them, and can't fill the log", async (t) => {
  const scene = await HttpScene.open(t);
  const before = (await entriesOf(scene)).length;
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await scene.call("POST", "/v1/plans", { token: "wrong-wrong-wrong-wrong", body: { to: "7.0.0" } });
  }
  t.equal((await entriesOf(scene)).length, before);
  await scene.daemon.stop();
  const text = await contentOf(join(scene.dir, "data", "audit"));
  t.match(text, /"action":"sign-in-failed"/);
  t.match(text, /"addresses":\["127\.0\.0\.1 \d+"\],"attempts":\d+/);
});

t.test("no secret gets into the log, through whatever route it comes", async (t) => {
  const scene = await HttpScene.open(t);
  const secret = "s3cr3t-Zq8vKx1pLm0nWb7t";
  for (const { method, url } of everyRoute()) {
    if (method === "GET" || method === "HEAD") continue;
    const path = url.replace(/:(\w+)/g, (_, name: string) => (name === "host" ? "node-1" : "a"));
    const nested = { reason: "r", why: secret };
    const bodies: unknown[] = [
      // What the routes take, where they take anything; and beside it what they don't.
      { host: "node-1", token: secret, password: secret, secret, key: secret, reason: "looks good" },
      { to: "7.0.0", acceptRisks: [{ code: "x", subject: "y", why: secret }] },
      { plan: "abcd", code: secret, nested },
      { host: "node-1", csr: secret, proof: secret, token: secret },
      { name: "deploy", user: "mia", roles: ["viewer"], token: secret },
      new TextEncoder().encode(secret),
    ];
    for (const body of bodies) {
      await scene.call(method, path, { body, headers: { cookie: `session=${secret}`, "x-secret": secret } });
    }
  }
  const made = await scene.tokenOf("node-1");
  t.ok(typeof made === "string" && made.length > 20);
  for (const path of ["/v1/plans", "/v1/tokens"]) await scene.call("POST", path, { body: { secret }, token: secret });
  await scene.daemon.stop();
  const text = await contentOf(join(scene.dir, "data", "audit"));
  t.match(text, /"action":"agent-token-create"/);
  for (const word of [secret, made, scene.token]) t.notOk(text.includes(word), "nowhere below the log's folder");
});

t.test("a start says what belayd goes by, and what of it is different from the last time", async (t) => {
  const scene = await HttpScene.open(t);
  const [first] = await entriesOf(scene, "&action=belayd-started");
  t.match(first, { who: { name: "belayd" }, about: { version: "0.0.0" }, after: { fleet: /^[0-9a-f]{64}$/ } });
  t.notOk(first?.before);
  await scene.daemon.stop();
  await writeFile(
    join(scene.dir, "fleet.yaml"),
    `${await readFile(join(scene.dir, "fleet.yaml"), "utf8")}\n# changed\n`,
  );
  const again = await HttpScene.startIn(t, scene.dir);
  const [second] = await entriesOf(again, "&action=belayd-started");
  t.equal(second?.before?.fleet, first?.after?.fleet);
  t.not(second?.after?.fleet, first?.after?.fleet);
});

t.test("the log is had page by page, by filter, and file by file", async (t) => {
  const scene = await HttpScene.open(t);
  for (let round = 0; round < 5; round += 1) {
    await scene.call("POST", "/v1/hosts/node-1/quarantine", { body: { reason: `round ${round}` } });
  }
  const page = (await scene.call("GET", "/v1/audit?limit=4")).body;
  const rest = (await scene.call("GET", `/v1/audit?limit=1000&before=${page.next}`)).body;
  const seqs = [...(page.entries as AuditEntry[]), ...(rest.entries as AuditEntry[])].map(({ seq }) => seq);
  t.same(
    seqs,
    Array.from({ length: page.size as number }, (_, index) => (page.size as number) - 1 - index),
  );
  t.equal(rest.next, null);
  t.equal((await entriesOf(scene, "&host=node-1&action=host-quarantine")).length, 10);
  t.equal((await entriesOf(scene, "&host=node-2")).length, 0);
  const one = (await scene.call("GET", "/v1/audit/entries/0")).body;
  t.match(one, { action: "log-begun" });
  t.equal((await scene.call("GET", "/v1/audit/entries/99999")).status, 404);
  t.equal((await scene.call("GET", "/v1/audit/files/key")).status, 200);
  for (const path of ["pending", "..%2Faudit.key", "%2e%2e/audit.key", "tile/0/999"]) {
    t.equal((await scene.call("GET", `/v1/audit/files/${path}`)).status, 404, path);
  }
  await scene.daemon.stop();
  const verdict = await verifyLog(await logInFolder(join(scene.dir, "data", "audit")), { key: null, witnesses: [] });
  t.match(verdict, { findings: [], pending: 0 });
});

async function contentOf(dir: string): Promise<string> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return (await Promise.all(files.map((file) => readFile(file, "latin1")))).join("\n");
}
