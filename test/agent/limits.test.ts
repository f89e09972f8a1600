import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { allowedBy, Limits, parseConfig } from "@belay/agent";
import { BelayError, type Op, type Step } from "@belay/shared";
import t from "tap";
import { World } from "./support/world.js";

/** A Wednesday. */
const NOON = Date.UTC(2026, 10, 25, 12);
const MINUTE_MS = 60_000;
const DIGEST = "ab".repeat(32);

function config(limits: string) {
  return parseConfig(
    `controller: http://127.0.0.1:1
host: host-1
tokenFile: /etc/belay/token
directories: [/opt/belay/, /srv]
limits: ${limits}
`,
    "agent.yaml",
  ).limits;
}

const step = (op: Op, check = false): Step => ({ type: "step", step: "r/s/h/0/1", fence: 1, check, deadlineMs: 1, op });
const fetch = (version: string, sha256 = DIGEST): Op => ({
  kind: "fetch",
  version,
  source: `/v1/artifacts/${sha256}`,
  sha256,
  size: 1,
  versionsDir: "/opt/belay",
  strip: 1,
  maxUnpackedBytes: 1,
});
const swap = (to: string, sha256: string | null = DIGEST): Op => ({
  kind: "swap",
  service: "svc",
  versionsDir: "/v",
  link: "/l",
  from: "17.0.0",
  to,
  sha256,
  how: "reload",
  version: [],
  checks: [],
  settleMs: 1,
  startTimeoutMs: 1,
  stopTimeoutMs: 1,
  snapshot: null,
  revertTo: "running",
});
const upgradeAgent = (to: string): Op => ({
  kind: "upgrade-agent",
  versionsDir: "/v",
  link: "/l",
  from: "0.1.0",
  to,
  sha256: DIGEST,
  settleMs: 1,
  returnMs: 5000,
});
const stop: Op = { kind: "stop", service: "svc", timeoutMs: 1 };
const start: Op = { kind: "start", service: "svc", checks: [], settleMs: 1, timeoutMs: 1 };

async function refusalOf(limits: string, op: Op, at = NOON, check = false): Promise<string> {
  try {
    await new Limits(config(limits), { now: () => at }).mustAllow(step(op, check));
    return "allowed";
  } catch (error) {
    if (error instanceof BelayError) return error.code;
    throw error;
  }
}

t.test("without limits everything is allowed, and looking always is", async (t) => {
  for (const op of [fetch("18.0.0"), swap("1.0.0"), upgradeAgent("9.0.0"), stop]) {
    t.equal(await refusalOf("{}", op), "allowed");
  }
  t.equal(await refusalOf("{ ops: [] }", { kind: "noop" }), "allowed");
  const checks = [{ kind: "http", url: "https://proxy.internal/webapi/ping", status: 200, timeoutMs: 1 } as const];
  const probe = { service: "svc", versionsDir: "/v", link: "/l", version: [], checks, disks: [] };
  t.equal(await refusalOf("{ ops: [] }", { kind: "facts", probe }), "allowed", "wherever it looks");
  t.equal(await refusalOf("{ ops: [] }", stop, NOON, true), "allowed", "a check changes nothing");
  t.equal(await refusalOf("{ ops: [] }", stop), "op-refused");
});

t.test("versions have a lowest and a highest, for services and for the agent", async (t) => {
  const limits = "{ versions: { lowest: 17.2.0, highest: 18.99.99 } }";
  for (const [version, verdict] of [
    ["17.1.9", "version-refused"],
    ["17.2.0-rc.1", "version-refused"],
    ["17.2.0", "allowed"],
    ["18.99.99", "allowed"],
    ["19.0.0", "version-refused"],
  ] as const) {
    t.equal(await refusalOf(limits, fetch(version)), verdict, `fetch ${version}`);
    t.equal(await refusalOf(limits, swap(version)), verdict, `swap to ${version}`);
  }
  t.equal(await refusalOf(limits, upgradeAgent("0.2.0")), "allowed", "that is another product");
  const both = "{ versions: { lowest: 17.2.0 }, agentVersions: { highest: 0.3.0 } }";
  t.equal(await refusalOf(both, upgradeAgent("0.4.0")), "version-refused");
  t.equal(await refusalOf(both, fetch("0.2.0")), "allowed", "an agent may be fetched");
  t.equal(await refusalOf(both, swap("0.2.0")), "version-refused", "but is no version of the service");
});

t.test("times of day are those of a zone, over midnight and summer time", async (t) => {
  const office = '{ hours: { zone: Europe/Berlin, windows: ["Mon-Fri 09:00-17:00"] } }';
  const at = (text: string) => Date.parse(text);
  for (const [time, verdict] of [
    ["2026-11-25T07:59:59Z", "hours-refused"],
    ["2026-11-25T08:00:00Z", "allowed"],
    ["2026-11-25T15:59:59Z", "allowed"],
    ["2026-11-25T16:00:00Z", "hours-refused"],
    ["2026-07-01T07:00:00Z", "allowed"],
    ["2026-07-01T15:00:00Z", "hours-refused"],
    ["2026-11-28T12:00:00Z", "hours-refused"],
  ] as const) {
    t.equal(await refusalOf(office, stop, at(time)), verdict, time);
  }
  const night = '{ hours: { zone: UTC, windows: ["Sat 22:00-04:00"] } }';
  for (const [time, verdict] of [
    ["2026-11-28T21:59:00Z", "hours-refused"],
    ["2026-11-28T23:00:00Z", "allowed"],
    ["2026-11-29T03:59:00Z", "allowed"],
    ["2026-11-29T04:00:00Z", "hours-refused"],
    ["2026-11-28T03:00:00Z", "hours-refused"],
  ] as const) {
    t.equal(await refusalOf(night, stop, at(time)), verdict, time);
  }
  t.equal(
    await refusalOf('{ hours: { zone: UTC, windows: ["11:59-12:01"] } }', stop, NOON + MINUTE_MS),
    "hours-refused",
  );
  t.equal(await refusalOf(office, start, at("2026-11-28T12:00:00Z")), "allowed", "a stopped service may always start");
});

t.test("only artifacts that its owner lists", async (t) => {
  const file = join(t.testdir(), "artifacts.sha256");
  const limits = `{ artifacts: ${file} }`;
  t.equal(await refusalOf(limits, fetch("18.0.0")), "artifacts-invalid", "no list is not any list");
  writeFileSync(file, `# releases\n\n${DIGEST}  teleport-v18.0.0-linux-amd64-bin.tar.gz\n`, { mode: 0o644 });
  t.equal(await refusalOf(limits, fetch("18.0.0")), "allowed");
  t.equal(await refusalOf(limits, fetch("18.0.0", "cd".repeat(32))), "artifact-refused");
  t.equal(await refusalOf(limits, swap("18.0.0", "cd".repeat(32))), "artifact-refused");
  t.equal(await refusalOf(limits, swap("17.0.0", null)), "allowed", "what was there before needs none");
  const made = (version: string, sha256: string) => {
    const versionsDir = join(dirname(file), "versions");
    mkdirSync(join(versionsDir, version), { recursive: true });
    const manifest = { version, artifact: { sha256, size: 1 }, files: [] };
    writeFileSync(join(versionsDir, version, ".belay-manifest.json"), JSON.stringify(manifest));
    return { ...swap(version, null), versionsDir } as Op;
  };
  t.equal(await refusalOf(limits, made("17.0.1", DIGEST)), "allowed", "what was fetched from one that is listed");
  t.equal(await refusalOf(limits, made("17.0.2", "cd".repeat(32))), "artifact-refused", "what is there from another");
  chmodSync(file, 0o664);
  t.equal(await refusalOf(limits, fetch("18.0.0")), "artifacts-invalid", "others may write it");
  chmodSync(file, 0o644);
  chmodSync(dirname(file), 0o777);
  t.equal(await refusalOf(limits, fetch("18.0.0")), "artifacts-invalid", "others may put another in its place");
  chmodSync(dirname(file), 0o755);
  writeFileSync(file, "what is this\n");
  t.equal(await refusalOf(limits, fetch("18.0.0")), "artifacts-invalid");
});

t.test("what makes no sense is found when agent.yaml is read", async (t) => {
  for (const wrong of [
    "{ versions: { lowest: 18.0.0, highest: 17.0.0 } }",
    "{ versions: { lowest: eighteen } }",
    "{ hours: { zone: Atlantis/Centre, windows: ['09:00-17:00'] } }",
    "{ hours: { zone: UTC, windows: [] } }",
    "{ hours: { zone: UTC, windows: ['9-17'] } }",
    "{ hours: { zone: UTC, windows: ['Mon-Fry 09:00-17:00'] } }",
    "{ hours: { zone: UTC, windows: ['09:00-25:00'] } }",
    "{ hours: { zone: UTC, windows: ['09:60-10:00'] } }",
    "{ hours: { zone: UTC, windows: ['09:00-09:00'] } }",
    "{ ops: [facts] }",
    "{ ops: [shell] }",
    "{ artifacts: /var/lib/belay-agent/list }",
    "{ artifacts: /etc/../var/lib/belay-agent/list }",
    "{ more: 1 }",
  ]) {
    t.throws(() => config(wrong), { code: "config-invalid" }, wrong);
  }
});

t.test("what says whom a host believes is out of every op's reach, in an allowed directory too", async (t) => {
  const dir = t.testdir();
  const file = (name: string) => join(dir, name);
  const config = parseConfig(
    `controller: http://127.0.0.1:1
host: host-1
tokenFile: ${file("token")}
stateDir: ${file("state")}
hooksDir: ${file("hooks.d")}
identityFile: ${file("age")}
directories: [${dir}]
approve: { by: approvers, fleet: acme, signers: ${file("etc/approvers")} }
limits: { artifacts: ${file("artifacts")} }
`,
    file("agent.yaml"),
  );
  const allowed = allowedBy(config, new Map());
  await t.resolves(allowed.path(file("teleport.yaml")));
  await t.resolves(allowed.path(file("state/backups/b1")));
  const memory = ["state", "state/journal", "state/witness/newest", "state/adopted/svc.json", "state/upgrade.json"];
  for (const name of ["agent.yaml", "token", "age", "artifacts", "etc/approvers", "hooks.d/drain", ...memory]) {
    await t.rejects(allowed.path(file(name)), { code: "path-refused" }, name);
  }
  await t.rejects(allowed.path(`${dir}/x/../etc/approvers`), { code: "path-refused" });
  symlinkSync(file("etc"), file("elsewhere"));
  mkdirSync(file("etc"));
  await t.rejects(allowed.path(file("elsewhere/approvers")), { code: "path-refused" }, "over a link");
  await t.rejects(allowed.link(file("etc")), { code: "path-refused" }, "nor may a link take their folder's place");
  await t.resolves(allowed.link(file("current")));
});

t.test("a step that may take longer than a timer can last is not late at once", { timeout: 60_000 }, async (t) => {
  const world = await World.make(t);
  world.initially = "running";
  world.install("5.4.2");
  world.linkTo("5.4.2");
  await world.start();
  const health = { kind: "health", probe: world.probe(), expect: null, settleMs: 1000, timeoutMs: 20_000 } as const;
  t.match(await world.controller.step(health, { deadlineMs: 2 ** 32 }), { status: "done" });
});

t.test(
  "no backup brings a program back where only listed artifacts may, nor anywhere one with its owner's rights",
  async (t) => {
    const world = await World.make(t);
    const list = join(world.dir, "artifacts");
    writeFileSync(list, "", { mode: 0o644 });
    const at = (name: string) => join(world.dir, name);
    const keep = (id: string, path: string, mode: number): Op => {
      mkdirSync(join(at("backups"), id), { recursive: true });
      writeFileSync(join(at("backups"), id, "0-it"), "made up");
      const sha256 = createHash("sha256").update("made up").digest("hex");
      const item = { kind: "file", path, file: "0-it", uid: 0, gid: 0, mode, size: 7, sha256 };
      const manifest = { id, takenAt: 1, version: null, items: [item] };
      writeFileSync(join(at("backups"), id, "manifest.json"), JSON.stringify(manifest));
      return { kind: "restore", id, dir: at("backups"), service: "svc" };
    };
    mkdirSync(join(world.versionsDir, "6.2.31"));
    writeFileSync(join(world.versionsDir, "6.2.31", ".belay-manifest.json"), "{}");
    const ask = async (op: Op) => {
      const outcome = await world.controller.step(op);
      return outcome.status === "done" ? "done" : outcome.error.code;
    };
    await world.start();
    t.equal(await ask(keep("b1", at("bin"), 0o755)), "done", "elsewhere a backup may hold one");
    t.equal(await ask(keep("b2", at("suid"), 0o4755)), "restore-refused");
    t.equal(await ask(keep("b3", at("sgid"), 0o2644)), "restore-refused");
    await world.stop();
    world.more = `limits: { artifacts: ${list} }`;
    await world.start();
    t.equal(await ask(keep("b4", at("config"), 0o640)), "done", "what is no program");
    t.equal(await ask(keep("b5", at("teleport"), 0o755)), "restore-refused");
    t.equal(await ask(keep("b6", join(world.versionsDir, "6.2.31", "svc"), 0o644)), "restore-refused");
    t.equal(await ask(keep("b7", join(world.versionsDir, "9.9.9", ".belay-manifest.json"), 0o644)), "restore-refused");
    for (const name of ["suid", "sgid", "teleport", "versions/6.2.31/svc", "versions/9.9.9"]) {
      t.notOk(existsSync(at(name)), name);
    }
  },
);

t.test("a backup's folder is one of its own, and takes the place of nothing that no step may touch", async (t) => {
  const world = await World.make(t);
  mkdirSync(join(world.dir, "etc"));
  writeFileSync(join(world.dir, "etc", "approvers"), "", { mode: 0o644 });
  world.more = `approve: { by: controller }\nlimits: { artifacts: ${join(world.dir, "etc", "approvers")} }`;
  await world.start();
  const code = async (op: Op) => {
    const outcome = await world.controller.step(op);
    return outcome.status === "done" ? "done" : outcome.error.code;
  };
  for (const [dir, id] of [
    ["etc", "approvers"],
    ["", "etc"],
    ["etc", ".."],
    ["etc", "."],
    ["etc", "..."],
  ] as const) {
    const at = { id, dir: join(world.dir, dir) };
    t.equal(await code({ kind: "backup", spec: { ...at, items: [], version: null } }), "path-refused", `${dir} ${id}`);
    t.equal(await code({ kind: "verify-backup", ...at }), "path-refused", `${dir} ${id}`);
    t.equal(await code({ kind: "restore", ...at, service: "svc" }), "path-refused", `${dir} ${id}`);
  }
  t.ok(existsSync(join(world.dir, "etc", "approvers")));
});

t.test("an agent process refuses before it accepts, and touches nothing", { timeout: 120_000 }, async (t) => {
  const world = await World.make(t);
  world.more = "limits: { versions: { highest: 6.0.0 }, ops: [fetch] }";
  world.install("5.4.2");
  world.linkTo("5.4.2");
  world.spawn();
  await world.controller.connected();
  const fetched = await world.release("6.2.31");
  t.match(await world.controller.step(fetched), {
    status: "failed",
    retryable: false,
    error: { code: "version-refused", context: { version: "6.2.31" } },
  });
  t.match(await world.controller.step({ kind: "stop", service: "svc", timeoutMs: 1000 }), {
    status: "failed",
    error: { code: "op-refused" },
  });
  t.equal(world.controller.all("accepted").length, 0);
  t.notOk(existsSync(join(world.versionsDir, "6.2.31")));
  t.match(await world.controller.step(await world.release("5.5.0")), { status: "done", changed: true });
});
