import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { stringify } from "yaml";
import { HttpScene } from "../http/scene.js";
import { Browser } from "../support/identity-provider/browser.js";
import { CLIENT_ID, IdentityProvider } from "../support/identity-provider/index.js";
import { belay, type Ran } from "./belay.js";
import { FakeBelayd } from "./belayd.js";
import { gate, RUN, START } from "./samples.js";

/** A device asks every five seconds. */
t.setTimeout(120_000);

/** The command line of somebody with a home of their own, towards a real belayd. */
async function home(t: Test, scene: HttpScene) {
  const dir = await mkdtemp(join(tmpdir(), "belay-cli-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const env = { BELAY_SERVER: scene.daemon.address, XDG_CONFIG_HOME: dir };
  return {
    dir,
    kept: join(dir, "belay", "token"),
    type: (args: readonly string[], more: Parameters<typeof belay>[3] = {}): Promise<Ran> =>
      belay(args, null, env, more),
  };
}

t.test("from the first token to somebody of one's own, typed as people type it", async (t) => {
  const scene = await HttpScene.open(t);
  const root = await home(t, scene);
  const none = await root.type(["whoami"]);
  t.match(none, { code: 1, err: /error\[token-missing\]: no API token\nhint: Sign in: belay login/ });
  const first = await root.type(["login", "--token-file", join(scene.dir, "data", "api-token")]);
  t.match(first, { code: 0, out: /you are +root, by root token\nroles +viewer, operator, approver, admin\n/ });
  t.equal((await stat(root.kept)).mode & 0o777, 0o600);
  t.equal((await stat(join(root.dir, "belay"))).mode & 0o777, 0o700);

  const made = await root.type(["user", "create", "ann", "--role", "operator,approver", "--group", "sre"]);
  t.match(made, {
    code: 0,
    out: /user +ann\nroles +operator, approver\ngroups +sre\nsigns in +by API tokens\nmade .* by root/,
  });
  const file = join(root.dir, "ann.token");
  t.match(await root.type(["token", "create", "first", "--user", "ann", "--out", file]), {
    code: 0,
    out: /^token \w{12} of ann written to /,
  });
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.match(await root.type(["token", "create", "first", "--user", "ann", "--out", file]), {
    code: 1,
    err: /file-not-writable/,
  });
  t.match(await root.type(["user", "list"]), {
    out: /USER +ROLES +GROUPS +SIGNS IN\nann +operator, approver +sre +tokens/,
  });

  const ann = await home(t, scene);
  const asked: string[] = [];
  const token = (await readFile(file, "utf8")).trim();
  const ask = async (question: string) => {
    asked.push(question);
    return `${token}\n`;
  };
  t.match(await ann.type(["login"], { ask }), { code: 0, out: /you are +ann, by token first/ });
  t.same(asked, ["API token: "]);
  t.match(await ann.type(["whoami", "--json"]), { code: 0, out: /"name": "ann"/ });
  t.match(await ann.type(["user", "create", "bob", "--role", "admin"]), {
    code: 1,
    err: /error\[forbidden\]: ann may not do this \(by token first\)\nhint: It takes the role admin/,
  });
  t.match(await ann.type(["token", "create", "ci", "--role", "viewer", "--ttl", "8h"]), {
    code: 0,
    out: /^belay_[\w-]{43}\n$/,
  });
  t.match(await ann.type(["token", "create", "ci", "--ttl", "soon"]), { code: 1, err: /--ttl soon is no duration/ });
  const list = await ann.type(["token", "list"]);
  t.match(list.out, /ID +USER +NAME +GOOD FOR +MADE +LAST USED +ENDS\n\w{12} +ann +ci +viewer .* never /);
  const id = /^(\w{12}) +ann +first/m.exec(list.out)?.[1] ?? "";
  t.match(await ann.type(["token", "revoke", id]), { code: 0 });
  t.match(await ann.type(["whoami"]), { code: 1, err: /error\[unauthorized\]/ }, "it was her own");
  t.match(await ann.type(["logout"]), { code: 0, out: /is gone/ });
  t.match(await ann.type(["logout"]), { code: 0, out: /there was no/ });

  t.match(await root.type(["user", "set", "ann", "--role", "viewer", "--no-groups"]), {
    code: 0,
    out: /roles +viewer\ngroups +none/,
  });
  t.match(await root.type(["user", "remove", "ann"]), { code: 0, out: "ann is removed\n" });
  t.match(await root.type(["user", "show", "ann"]), { code: 1, err: /user-unknown/ });
});

t.test("belay login --oidc shows a code, waits, and keeps what it gets", async (t) => {
  const idp = await IdentityProvider.start(["http://localhost:7440/v1/login/callback"]);
  t.teardown(() => idp.stop());
  idp.account = { sub: "1", preferred_username: "ann" };
  const oidc = { issuer: idp.issuer, clientId: CLIENT_ID, clientSecretFile: "secret", roles: { viewer: ["*"] } };
  const scene = await HttpScene.open(t, stringify({ oidc }), {
    prepare: (dir) => writeFile(join(dir, "secret"), "a-secret-of-belayd-0123456789\n"),
  });
  const ann = await home(t, scene);
  let shown = "";
  const err = {
    isTty: false,
    columns: 100,
    rows: 24,
    write: (text: string) => {
      shown += text;
      const url = /or open (\S+)/.exec(text)?.[1];
      if (url !== undefined) void new Browser().follow(url);
    },
  };
  const ran = await ann.type(["login", "--oidc"], { err, now: Date.now });
  t.match(ran, { code: 0, out: /you are +ann, by token belay login/ }, shown);
  t.match(shown, /^Open http:\/\/127\.0\.0\.1:\d+\/device and type [A-Z]{4}-[A-Z]{4}\nor open /);
  t.equal((await stat(ann.kept)).mode & 0o777, 0o600);
  t.match(await ann.type(["whoami"]), { code: 0, out: /until +20/ });

  idp.account = null;
  const refused = await ann.type(["login", "--oidc"], { err, now: Date.now });
  t.equal(refused.code, 1);
  t.match(shown, /error\[sign-in-refused\]: .*access_denied/);
  t.match(await ann.type(["whoami"]), { code: 0 }, "what was kept before stays");
});

t.test("glass is broken for a reason, and said out loud", async (t) => {
  const decisions = [{ decision: "break-glass", by: "eve", reason: "logins are down", at: START }];
  const broken = { gate: "hop-1.main.auth", by: "eve", reason: "logins are down", at: START };
  const peer = await FakeBelayd.start({
    [`POST /v1/gates/${RUN}/hop-1.main.auth/break-glass`]: { ...gate({ status: "passed", decisions }) },
    [`GET /v1/gates/${RUN}/hop-1.main.auth`]: { ...gate({ status: "passed", decisions }) },
    "GET /v1/status": {
      ...{ version: "0.1.0", fleet: "acme", hosts: { declared: 1, present: 1, undeclared: 0 } },
      ...{ activeRuns: [RUN], brokenGlass: [{ run: RUN, ...broken }], superseded: null },
    },
  });
  t.teardown(() => peer.stop());
  const words = ["gate", "approve", RUN, "hop-1.main.auth", "--break-glass"];
  t.match(await belay(words, peer), { code: 1, err: /error\[reason-missing\]: glass is broken for a reason/ });
  const done = await belay([...words, "--reason", "logins are down"], peer);
  t.same(done, { code: 0, out: `gate hop-1.main.auth of run ${RUN}: GLASS BROKEN by eve\n`, err: "" });
  t.same(
    peer.askedOf(`POST /v1/gates/${RUN}/hop-1.main.auth/break-glass`).map(({ body }) => body),
    [{ reason: "logins are down" }],
  );
  const shown = await belay(["gate", "show", RUN, "hop-1.main.auth"], peer);
  t.match(shown.out, /approvals +0 of 2 from sre; GLASS BROKEN, passed without the others/);
  t.match(shown.out, /decided +.* break-glass by eve: logins are down/);
  const status = await belay(["status"], peer);
  t.match(status.out, new RegExp(`BREAK-GLASS at hop-1.main.auth of ${RUN} by eve, .*: logins are down`));
});
