import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "better-sqlite3";
import t from "tap";
import { digest, HttpScene } from "./scene.js";

const DAY_MS = 86_400_000;

t.test("users: made, changed, removed; a name is one person's for ever", async (t) => {
  const scene = await HttpScene.open(t, "groups: { oncall: [ann] }\n");
  const call = (method: string, path: string, body?: object) =>
    scene.call(method, path, body === undefined ? {} : { body });
  t.match(await call("POST", "/v1/users", { name: "ann", roles: ["operator"], groups: ["sre"] }), {
    status: 200,
    body: { name: "ann", roles: ["operator"], groups: ["oncall", "sre"], createdBy: "root", issuer: null },
  });
  t.match(await call("POST", "/v1/users", { name: "ann", roles: ["admin"] }), {
    status: 409,
    body: { error: { code: "user-exists" } },
  });
  for (const name of ["root", "belayd"]) {
    t.match(await call("POST", "/v1/users", { name, roles: ["admin"] }), {
      body: { error: { code: "name-reserved" } },
    });
  }
  for (const name of ["Ann", "../ann", "a b", "", "ann\n", "x".repeat(129), "änn"]) {
    t.match(await call("POST", "/v1/users", { name, roles: ["viewer"] }), { status: 400 }, JSON.stringify(name));
  }
  for (const roles of [[], ["god"], "admin", [["admin"]]]) {
    t.match(await call("POST", "/v1/users", { name: "bob", roles }), { status: 400 }, JSON.stringify(roles));
  }
  t.match(await call("POST", "/v1/users/ann", { roles: ["viewer"] }), {
    body: { roles: ["viewer"], groups: ["oncall", "sre"] },
  });
  t.match(await call("POST", "/v1/users/ann", { groups: [] }), { body: { roles: ["viewer"], groups: ["oncall"] } });
  t.match(await call("POST", "/v1/users/zoe", { roles: ["viewer"] }), {
    status: 404,
    body: { error: { code: "user-unknown" } },
  });

  const { token } = (await call("POST", "/v1/tokens", { name: "old", user: "ann" })).body;
  t.match(await call("DELETE", "/v1/users/ann"), { status: 200 });
  t.match(await scene.call("GET", "/v1/whoami", { token: token as string }), { status: 401 });
  t.match(await call("GET", "/v1/users"), { body: [] });
  t.match(await call("POST", "/v1/users", { name: "ann", roles: ["admin"] }), {
    status: 409,
    body: { error: { code: "user-removed" } },
  });
  t.match(await call("POST", "/v1/users", { name: "ann", roles: ["viewer"], again: true }), { status: 200 });
  t.match(
    await scene.call("GET", "/v1/whoami", { token: token as string }),
    { status: 401 },
    "the old token stays over",
  );
});

t.test("tokens: hashed, narrow, expiring, revocable, and no way up from a narrow one", async (t) => {
  const clock = { ms: 0 };
  const scene = await HttpScene.open(t, "", { now: () => Date.now() + clock.ms });
  const ann = await scene.personOf("ann", ["operator", "approver"]);
  await scene.personOf("bob", ["viewer"]);
  const as = (token: string) => (method: string, path: string, body?: object) =>
    scene.call(method, path, body === undefined ? { token } : { token, body });
  const made = (await as(ann)("POST", "/v1/tokens", { name: "ci", roles: ["operator"], ttlMs: DAY_MS })).body;
  const narrow = made.token as string;
  t.match(narrow, /^belay_[\w-]{43}$/);
  t.match(made, { user: "ann", roles: ["operator"], createdBy: "root", usedAt: null, revokedAt: null });
  t.match((await as(narrow)("GET", "/v1/whoami")).body, {
    name: "ann",
    roles: ["viewer", "operator"],
    via: "token ci",
  });

  const db = new Database(join(scene.dir, "data", "belay.db"), { readonly: true });
  const stored = JSON.stringify(db.prepare("SELECT * FROM user_tokens").all());
  db.close();
  t.ok(stored.includes(digest(new TextEncoder().encode(narrow))));
  for (const token of [ann, narrow]) t.notOk(stored.includes(token), "only the digest is kept");
  t.notOk((await readFile(join(scene.dir, "data", "belay.db-wal"))).includes(narrow));

  t.match(await as(ann)("POST", "/v1/tokens", { name: "x", roles: ["admin"] }), {
    body: { error: { code: "scope-too-wide" } },
  });
  t.match(await as(narrow)("POST", "/v1/tokens", { name: "x", roles: ["approver"] }), {
    body: { error: { code: "scope-too-wide" } },
  });
  t.equal(made.createdBy, "root", "what is made with a token that was handed over may be in the same hands");
  const child = (await as(narrow)("POST", "/v1/tokens", { name: "x", ttlMs: 100 * DAY_MS })).body;
  t.same(child.roles, ["viewer", "operator"], "no wider");
  t.ok((child.expiresAt as number) <= (made.expiresAt as number), "no longer");
  t.match(await as(ann)("POST", "/v1/tokens", { name: "x", user: "bob" }), { status: 403 });
  t.match(await as(ann)("GET", "/v1/tokens?user=bob"), { status: 403 });
  t.match(await as(ann)("GET", "/v1/tokens?all=1"), { status: 403 });
  const [ofBob] = (await scene.call("GET", "/v1/tokens?user=bob")).body as unknown as { id: string }[];
  t.match(await as(ann)("DELETE", `/v1/tokens/${ofBob?.id}`), { status: 403 });
  t.match(await as(ann)("GET", "/v1/tokens"), { body: [{ name: "x" }, { name: "ci" }, { name: "tests" }] });
  t.match(
    await scene.call("POST", "/v1/tokens", { body: { name: "mine" } }),
    { status: 404 },
    "root is no user, and has one token",
  );

  await scene.call("POST", "/v1/users/ann", { body: { roles: ["approver"] } });
  t.match((await as(narrow)("GET", "/v1/whoami")).body, { roles: ["viewer"] }, "never more than its user");
  t.match(await as(narrow)("POST", "/v1/plans", { to: "6.0.0" }), { status: 403 });
  await scene.call("POST", "/v1/users/ann", { body: { roles: ["operator"] } });
  clock.ms += DAY_MS;
  t.match(await as(narrow)("GET", "/v1/whoami"), { status: 401 }, "expired");
  t.match(await as(child.token as string)("GET", "/v1/whoami"), { status: 401 });
  clock.ms = 0;
  t.match(await as(ann)("DELETE", `/v1/tokens/${made.id}`), { status: 200 });
  t.match(await as(narrow)("GET", "/v1/whoami"), { status: 401 }, "revoked");
  const list = (await as(ann)("GET", "/v1/tokens")).body as unknown as {
    name: string;
    usedAt: number | null;
    revokedAt: number | null;
  }[];
  const ci = list.find(({ name }) => name === "ci");
  t.ok(typeof ci?.usedAt === "number" && typeof ci.revokedAt === "number", "when it was last used, and ended");
  for (const ttlMs of [0, 59_999, 367 * DAY_MS]) {
    t.match(await as(ann)("POST", "/v1/tokens", { name: "x", ttlMs }), { status: 400 }, `${ttlMs}`);
  }
});

t.test("users and tokens outlive a restart", async (t) => {
  const scene = await HttpScene.open(t);
  const ann = await scene.personOf("ann", ["operator"], ["sre"]);
  await scene.personOf("bob", ["admin"]);
  await scene.call("DELETE", "/v1/users/bob");
  await scene.restart();
  t.match((await scene.call("GET", "/v1/whoami", { token: ann })).body, { name: "ann", groups: ["sre"] });
  t.match(await scene.call("POST", "/v1/users", { body: { name: "bob", roles: ["viewer"] } }), {
    status: 409,
    body: { error: { code: "user-removed" } },
  });
});
