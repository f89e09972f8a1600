import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { belay, start } from "./belay.js";
import { type Answer, FakeBelayd, refuse } from "./belayd.js";
import { failureGate, gate, gatedRun, host, RUN, recap, START, workingRun } from "./samples.js";

async function belayd(t: Test, routes: Readonly<Record<string, Answer>>): Promise<FakeBelayd> {
  const peer = await FakeBelayd.start(routes);
  t.teardown(() => peer.stop());
  return peer;
}

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "belay-cli-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const STATUS = {
  version: "0.1.0",
  fleet: "acme",
  hosts: { declared: 57, present: 56, undeclared: 1 },
  activeRuns: [RUN],
  brokenGlass: [],
  superseded: null,
};

t.test("a belayd that another one followed says so before anything else", async (t) => {
  const why = "node-7 has taken steps under lease 9, which is not from this database";
  const some = await belayd(t, {
    "GET /v1/status": { ...STATUS, superseded: { why, hosts: ["node-7", "node-8"], more: 498 } },
  });
  const first = (await belay(["status"], some)).out.split("\n");
  t.match(first[1], new RegExp(`^superseded +${why}$`));
  t.match(
    first[2],
    /^ +nothing is sent to node-7, node-8 and 498 more: another belayd leads, or this one's data is an old copy$/,
  );
  const all = await belayd(t, { "GET /v1/status": { ...STATUS, superseded: { why, hosts: "all", more: 0 } } });
  t.match((await belay(["status"], all)).out, /nothing is sent to any host: another belayd leads/);
});

t.test("status, for people and for programs", async (t) => {
  const peer = await belayd(t, { "GET /v1/status": STATUS });
  const [text, json] = await Promise.all([start(["status"], peer).ended, belay(["status", "--json"], peer)]);
  t.equal(text.code, 0);
  t.equal(
    text.out,
    `belayd      0.1.0 at ${peer.url}\nfleet       acme\n` +
      `hosts       56 of 57 connected, and 1 connected that nobody declared\nruns        ${RUN}\n`,
  );
  t.same(JSON.parse(json.out), STATUS);
  t.equal(text.err + json.err, "");
});

t.test("errors: code, message and hint on stderr, as JSON with --json, a stack only when asked for", async (t) => {
  const peer = await belayd(t, {
    "GET /v1/hosts/ghost": (_asked, response) =>
      refuse(response, 404, { code: "host-unknown", message: "no host ghost", hint: "`belay host list` shows them." }),
    "GET /v1/status": (_asked, response) => response.end("<html>hello</html>"),
  });
  const [text, json, debug, notBelayd, token] = await Promise.all([
    start(["host", "show", "ghost"], peer).ended,
    start(["host", "show", "ghost", "--json"], peer).ended,
    belay(["host", "show", "ghost"], peer, { BELAY_DEBUG: "1" }),
    belay(["status"], peer),
    belay(["status"], peer, { BELAY_TOKEN: "wrong" }),
  ]);
  t.same(text, { code: 1, out: "", err: "error[host-unknown]: no host ghost\nhint: `belay host list` shows them.\n" });
  t.equal(json.code, 1);
  t.same(JSON.parse(json.err), {
    error: { code: "host-unknown", message: "no host ghost", hint: "`belay host list` shows them." },
  });
  t.match(debug.err, /^error\[host-unknown\].*\nhint.*\nBelayError: no host ghost\n {4}at /);
  t.match(notBelayd.err, /^error\[answer-malformed\]: .* not JSON\nhint: Is that really belayd\?/);
  t.match(token.err, /^error\[unauthorized\]/);
});

t.test("no belayd: one clear error, and what to do", async (t) => {
  const peer = await FakeBelayd.start();
  await peer.stop();
  const ran = await start(["run", "watch"], peer).ended;
  t.equal(ran.code, 1);
  t.equal(
    ran.err,
    `error[belayd-unreachable]: cannot reach belayd at ${peer.url}: connect ECONNREFUSED ${peer.url.slice(7)}\n` +
      "hint: Is it running? Another address: --server URL or BELAY_SERVER.\n",
  );
});

t.test("command lines that can't be read", async (t) => {
  const ran = await Promise.all([
    belay(["run", "strat"], null),
    belay(["run", "watch", "--exit-at-gat"], null),
    belay(["host", "show"], null, { BELAY_TOKEN: "x" }),
    belay(["plan", "--to", "7.1.0", "--accept-risk", "left-behind:db-7"], null),
    belay(["plan", "--to", "7.1.0", "--accept-risk", "nonsense", "--why", "so"], null),
    belay(["run", "list", "--limit", "0"], null),
    belay(["plan", "--to", "7.1.0", "--fleet", "fleet.yaml"], null),
  ]);
  t.same(
    ran.map(({ code }) => code),
    [1, 1, 1, 1, 1, 1, 1],
  );
  t.match(
    ran[0]?.err,
    "error[usage]: unknown command 'strat'\nhint: Did you mean start? belay run --help shows how.\n",
  );
  t.match(
    ran[1]?.err,
    "error[usage]: unknown option '--exit-at-gat'\nhint: Did you mean --exit-at-gate? belay run watch",
  );
  t.match(ran[2]?.err, "error[usage]: missing required argument 'host'");
  t.match(ran[3]?.err, "error[usage]: a risk is accepted for a reason");
  t.match(ran[4]?.err, "error[usage]: --accept-risk nonsense: a risk is named CODE:SUBJECT");
  t.match(ran[5]?.err, "It is a whole number from 1 to 1000.");
  t.match(ran[6]?.err, "error[usage]: to plan without belayd, all three files are needed");
});

t.test("gate approve without names takes the one that is open; belayd says in whose name", async (t) => {
  const decisions = [{ decision: "approve", by: "bob", reason: "looks good", at: START }];
  const passed = gate({ status: "passed", decisions });
  const peer = await belayd(t, {
    "GET /v1/gates": [gate()],
    [`POST /v1/gates/${RUN}/hop-1.main.auth/approve`]: { ...passed },
  });
  const ran = await belay(["gate", "approve", "--reason", "looks good"], peer);
  t.same(ran, { code: 0, out: `gate hop-1.main.auth of run ${RUN}: approved by bob\n`, err: "" });
  const [asked] = peer.askedOf(`POST /v1/gates/${RUN}/hop-1.main.auth/approve`);
  t.same(asked?.body, { reason: "looks good" });
});

t.test("gate approve tells how many more approvals are needed", async (t) => {
  const decisions = [{ decision: "approve", by: "ann", reason: "", at: START }];
  const peer = await belayd(t, { [`POST /v1/gates/${RUN}/hop-1.main.auth/approve`]: { ...gate({ decisions }) } });
  const ran = await belay(["gate", "approve", RUN, "hop-1.main.auth"], peer);
  t.match(ran.out, "1 more of 2 approvals needed from sre");
});

t.test("which gate is meant", async (t) => {
  const other = gate({ run: "20261123-210000-aaaaaa" });
  const peer = await belayd(t, {
    "GET /v1/gates": (asked: { path: string }, response: import("node:http").ServerResponse) => {
      response.end(JSON.stringify(asked.path.includes("run=") ? [gate()] : [gate(), other]));
    },
    [`GET /v1/gates/${RUN}/hop-1.main.auth`]: { ...gate() },
    "GET /v1/gates/latest/hop-9.main.auth": (_asked, response) =>
      refuse(response, 404, { code: "gate-unknown", message: "this run has no gate hop-9.main.auth" }),
  });
  const [none, byRun, byOption, both, unknown] = await Promise.all([
    belay(["gate", "show"], peer),
    belay(["gate", "show", RUN], peer),
    belay(["gate", "show", "hop-1.main.auth", "--run", RUN], peer),
    belay(["gate", "show", RUN, "hop-1.main.auth", "--json"], peer),
    belay(["gate", "show", "hop-9.main.auth"], peer),
  ]);
  t.match(
    none.err,
    `error[gate-ambiguous]: 2 gates are open\nhint: Name one: ${RUN} hop-1.main.auth, or 20261123-210000`,
  );
  t.match(byRun.out, `gate hop-1.main.auth  of run ${RUN}`);
  t.match(byOption.out, `gate hop-1.main.auth  of run ${RUN}`);
  t.same(JSON.parse(both.out), gate());
  t.match(unknown.err, "error[gate-unknown]");
  peer.on("GET /v1/gates", []);
  t.match((await belay(["gate", "approve"], peer)).err, "error[gate-none-open]: no gate is open\nhint: belay why says");
});

t.test("a rejection, a skip, a quarantine and a block need a reason, before anything is asked", async (t) => {
  const peer = await belayd(t, { "GET /v1/gates": [gate()] });
  const ran = await Promise.all([
    belay(["gate", "reject"], peer),
    belay(["run", "skip"], peer),
    belay(["host", "quarantine", "db-7", "--reason", " "], peer),
    belay(["release", "block", "6.2.30"], peer),
  ]);
  for (const { code, err } of ran) {
    t.equal(code, 1);
    t.match(err, "error[reason-missing]");
  }
  t.same(peer.asked, []);
});

t.test("steering a run", async (t) => {
  const peer = await belayd(t, {
    "POST /v1/runs/latest/pause": { ...workingRun({ status: "pausing" }) },
    "POST /v1/runs/latest/resume": { ...workingRun() },
    "POST /v1/runs/latest/abort": { ...workingRun({ status: "aborting" }) },
    "POST /v1/runs/latest/retry": { ...workingRun() },
    "POST /v1/runs/latest/skip": { ...workingRun() },
  });
  t.equal((await belay(["run", "pause", "--reason", "lunch"], peer)).out, `run ${RUN} is pausing, 1 in flight\n`);
  t.equal((await belay(["run", "resume"], peer)).out, `run ${RUN} is running\n`);
  t.equal((await belay(["run", "abort"], peer)).out, `run ${RUN} is aborting, 1 in flight\n`);
  t.equal((await belay(["run", "retry"], peer)).out, `run ${RUN} is running\n`);
  await belay(["run", "skip", "--host", "node-2,node-3", "--host", "node-4", "--reason", "rebuild"], peer);
  t.same(
    peer.asked.map(({ body }) => body),
    [{ reason: "lunch" }, {}, {}, {}, { reason: "rebuild", hosts: ["node-2", "node-3", "node-4"] }],
  );
});

t.test("why says what it waits for, since when, and what would unblock it", async (t) => {
  const peer = await belayd(t, { "GET /v1/runs/latest/why": { waits: gatedRun().waits } });
  const ran = await belay(["why"], peer);
  t.match(
    ran.out,
    /^waits for {3}gate hop-1\.main\.auth waits for 2 approvals from sre\nsince .*\nunblock {5}belay gate approve /,
  );
  t.same(JSON.parse((await belay(["why", "--json"], peer)).out), { waits: gatedRun().waits });
});

t.test("a run, its recap, the log, hosts and backups", async (t) => {
  const line = { seq: 3, at: START, host: "auth-1", stage: null, level: "warn", message: "auth-1: failed" };
  const peer = await belayd(t, {
    "GET /v1/runs/latest": { ...workingRun() },
    "GET /v1/runs/latest/recap": { ...recap() },
    "GET /v1/runs/latest/log": [line],
    "GET /v1/hosts": [host(), host({ host: "db-7", present: false, cluster: "eu" })],
    "GET /v1/backups": [],
  });
  t.match((await belay(["run", "show"], peer)).out, "▶ main  node    batch 2/2");
  t.equal(
    (await belay(["run", "show", "--recap"], peer)).out.split("\n")[1],
    "node-1 : ok=3 changed=2 unreachable=0 failed=0 skipped=0   runs 7.1.0",
  );
  t.equal((await belay(["log", "--host", "auth-1"], peer)).out, "2026-11-23 20:15:00 WARN auth-1: failed\n");
  t.equal(peer.askedOf("GET /v1/runs/latest/log")[0]?.path, "/v1/runs/latest/log?host=auth-1");
  t.same(
    JSON.parse((await belay(["host", "list", "--cluster", "eu", "--offline", "--json"], peer)).out).map(
      (view: { host: string }) => view.host,
    ),
    ["db-7"],
  );
  t.equal((await belay(["backup", "list"], peer)).out, "no backup yet\n");
});

t.test("names can't lead to another route", async (t) => {
  const peer = await belayd(t, {});
  await belay(["host", "show", "../releases?x=1"], peer);
  t.equal(peer.asked[0]?.path, "/v1/hosts/..%2Freleases%3Fx%3D1");
});

t.test("what an agent wrote can't take the terminal over", async (t) => {
  const peer = await belayd(t, {
    "GET /v1/gates": [failureGate()],
    [`GET /v1/gates/${RUN}/hop-1.main.node.failure-1`]: {
      ...failureGate({ cause: { code: "not-settled", message: "bad \x1b[2J\x1b]0;mine\x07 host" } }),
    },
  });
  const { out } = await belay(["gate", "show"], peer);
  t.notMatch(out, "\x1b");
  t.match(out, "cause       bad  [2J ]0;mine  host (not-settled)");
});

t.test("a release is compared with its digest before it is sent", async (t) => {
  const dir = await folder(t);
  const file = join(dir, "teleport-v6.2.31-linux-amd64-bin.tar.gz");
  const bytes = Buffer.alloc(300_000, "belay");
  const digest = createHash("sha256").update(bytes).digest("hex");
  await writeFile(file, bytes);
  const view = {
    version: "6.2.31",
    blocked: null,
    suspect: null,
    artifacts: [
      { os: "linux", arch: "amd64", edition: "oss", fips: false, file: "x", size: 1, sha256: digest, stored: true },
    ],
  };
  const peer = await belayd(t, { "POST /v1/releases": view });

  const none = await belay(["release", "add", file], peer);
  t.match(none.err, "error[digest-missing]: no digest for");
  await writeFile(`${file}.sha256`, `${"0".repeat(64)}  teleport-v6.2.31-linux-amd64-bin.tar.gz\n`);
  const wrong = await belay(["release", "add", file], peer);
  t.match(wrong.err, /error\[artifact-differs\].*\nhint: Download it again; nothing was stored\./);
  await writeFile(`${file}.sha256`, `${digest}  another.tar.gz\n`);
  const other = await belay(["release", "add", file], peer);
  t.match(other.err, "error[digest-malformed]");
  t.same(peer.asked, [], "nothing was sent so far");

  await writeFile(`${file}.sha256`, `${digest}  teleport-v6.2.31-linux-amd64-bin.tar.gz\n`);
  const ran = await belay(["release", "add", file], peer);
  t.same(ran, { code: 0, out: "release 6.2.31 stored: linux/amd64 oss\n", err: "" });
  t.equal(peer.asked[0]?.path, `/v1/releases?file=teleport-v6.2.31-linux-amd64-bin.tar.gz&sha256=${digest}`);
  t.equal(peer.asked[0]?.body, bytes.toString(), "every byte, and no other");
});

t.test("a token goes to a new file that nobody else may read, or nowhere", async (t) => {
  const out = join(await folder(t), "token");
  const peer = await belayd(t, { "POST /v1/agents/tokens": { host: "auth-1", token: "secret" } });
  const ran = await belay(["agent", "token", "create", "--host", "auth-1", "--out", out], peer);
  t.same(ran, { code: 0, out: `token of auth-1 written to ${out}\n`, err: "" });
  t.equal(await readFile(out, "utf8"), "secret\n");
  t.equal((await stat(out)).mode & 0o777, 0o600);

  const again = await belay(["agent", "token", "create", "--host", "auth-1", "--out", out], peer);
  t.match(again.err, "error[file-not-writable]");
  t.equal(peer.asked.length, 1, "and the first token was not ended for nothing");

  peer.on("POST /v1/agents/tokens", (_asked, response) =>
    refuse(response, 400, { code: "host-unknown", message: "no" }),
  );
  await belay(["agent", "token", "create", "--host", "auth-1", "--out", `${out}-2`], peer);
  await t.rejects(stat(`${out}-2`), { code: "ENOENT" }, "no empty file stays behind");
});

t.test("a backup, where copies of it are, and how it is put back", async (t) => {
  const backup = {
    ...{
      host: "auth-1",
      backup: "run.hop-1.auth-1",
      run: "run",
      hop: "hop-1",
      sha256: "b".repeat(64),
      bytes: 4096,
      items: 3,
    },
    ...{ takenAt: START, version: "5.4.2", verifiedAt: START, prunedAt: null },
    copies: [{ sha256: "c".repeat(64), bytes: 5000, encrypted: true, at: START, verifiedAt: null }],
  };
  const blocked = [{ code: "left-behind", subject: "node-1", message: "node-1 has major 7", hint: "roll back" }];
  const path = "/v1/backups/auth-1/run.hop-1.auth-1";
  const peer = await belayd(t, {
    "GET /v1/backups": [backup, { ...backup, host: "node-1", copies: [], prunedAt: START }],
    [`GET ${path}`]: backup,
    "GET /v1/backups/node-1/gone": { ...backup, host: "node-1", copies: [], prunedAt: START },
    [`POST ${path}/verify`]: { ...backup, copies: [{ ...backup.copies[0], verifiedAt: START }] },
    [`POST ${path}/restore`]: { plan: { ok: false, to: "5.4.2", blocked, risks: [] }, run: null },
  });
  const list = (await belay(["backup", "list"], peer)).out;
  t.match(list, /auth-1 .* belayd, encrypted, not read back /);
  t.match(list, /node-1 .* pruned +none /);
  t.match((await belay(["backup", "show", "node-1", "gone"], peer)).out, /pruned +\S.*no longer\n.*copies +none\n/);
  const shown = (await belay(["backup", "show", "auth-1", "run.hop-1.auth-1"], peer)).out;
  t.match(shown, /copies +belayd .* encrypted +stored .* read back never/);
  t.match(
    (await belay(["backup", "verify", "auth-1", "run.hop-1.auth-1", "--copy"], peer)).out,
    /belayd, encrypted +b/,
  );
  t.equal(peer.askedOf(`POST ${path}/verify`)[0]?.path, `${path}/verify?copy=1`);

  const more = ["--no-safety-backup", "--reason", "disk died", "--accept-risk", "left-behind:db-7", "--why", "gone"];
  const refused = await belay(["backup", "restore", "auth-1", "run.hop-1.auth-1", ...more], peer);
  t.equal(refused.code, 1);
  t.match(refused.out, "left-behind  node-1 has major 7");
  t.same(peer.askedOf(`POST ${path}/restore`)[0]?.body, {
    ...{ safetyBackup: false, reason: "disk died", planOnly: true },
    acceptRisks: [{ code: "left-behind", subject: "db-7", why: "gone" }],
  });
});
