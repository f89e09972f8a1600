import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Check, Op } from "@belay/shared";
import t, { type Test } from "tap";
import { newApprover } from "../support/approved.js";
import { World } from "./support/world.js";

const REAL = { timeout: 120_000 };

/** A host that believes approvers, and a backend whose every program leaves a mark. */
async function host(t: Test) {
  const world = await World.make(t);
  const ran = join(world.dir, "ran");
  const script = join(world.dir, "script");
  writeFileSync(script, `#!/bin/sh\necho "$@" >> ${ran}\n`, { mode: 0o755 });
  const signers = join(world.dir, "approvers");
  writeFileSync(signers, `${newApprover("maria").line}\n`, { mode: 0o644 });
  world.more = `approve: { by: approvers, fleet: acme, signers: ${signers} }
backends: { own: { kind: command, backup: [${script}], restore: [${script}], verify: [${script}] } }`;
  await world.start();
  const { controller } = world;
  return { world, ran, ask: (op: Op, options: { check?: boolean } = {}) => controller.step(op, options) };
}

function keep(dir: string, id: string, record: object): void {
  mkdirSync(join(dir, id), { recursive: true });
  writeFileSync(join(dir, id, "0-own"), "kept");
  const sha256 = createHash("sha256").update("kept").digest("hex");
  const item = { file: "0-own", size: 4, sha256, tool: "own", ...record };
  const manifest = { id, takenAt: 1_700_000_000_000, version: null, items: [item] };
  writeFileSync(join(dir, id, "manifest.json"), JSON.stringify(manifest));
}

t.test("reading back and checks that nobody approved start none of the owner's programs", REAL, async (t) => {
  const { world, ran, ask } = await host(t);
  const dir = join(world.dir, "backups");
  keep(dir, "b1", { kind: "backend", backend: "own", engine: "command", from: "own", facts: {} });
  keep(dir, "b2", { kind: "file", path: join(world.dir, "config"), uid: 0, gid: 0, mode: 0o600 });
  const spec = { id: "b1", dir, items: [{ kind: "backend" as const, backend: "own" }], version: null };
  const prune: Op = {
    kind: "prune",
    versionsDir: world.versionsDir,
    link: world.link,
    keep: [],
    backupsDir: dir,
    keepBackups: 1,
  };
  const read = await ask({ kind: "verify-backup", id: "b1", dir });
  t.match(read, { status: "done", result: { verified: false } }, "its digests hold, and nothing more is said");
  t.match(await ask({ kind: "verify-backup", id: "b2", dir }), { status: "done", result: { verified: true } });
  t.match(await ask({ kind: "backup", spec }, { check: true }), { status: "done" });
  t.match(await ask({ kind: "restore", id: "b1", dir, service: "svc" }, { check: true }), { status: "done" });
  t.match(await ask(prune, { check: true }), { status: "done", changed: true });
  writeFileSync(join(dir, "b1", "0-own"), "torn");
  t.match(await ask({ kind: "verify-backup", id: "b1", dir }), { error: { code: "backup-corrupt" } });
  t.notOk(existsSync(ran), "nothing was started");
});

t.test("a preflight that nobody approved measures no backend", REAL, async (t) => {
  const { world, ask } = await host(t);
  const backend = createServer().listen(0, "127.0.0.1");
  let asked = 0;
  backend.on("connection", () => {
    asked += 1;
  });
  t.teardown(() => backend.close());
  await once(backend, "listening");
  await world.stop();
  const { port } = backend.address() as AddressInfo;
  world.more = world.more.replace(
    "backends: {",
    `backends: { etcd: { kind: etcd, endpoints: ["http://127.0.0.1:${port}"], prefix: /x }, `,
  );
  await world.start();
  const copies = [{ kind: "backend" as const, backend: "etcd" }];
  const needs = [{ path: world.dir, bytes: 1, inodes: 1, copies }];
  const probe = { ...world.probe(), checks: [], version: [] };
  const outcome = await ask({ kind: "preflight", probe, expect: null, needs, healthy: false });
  t.match(outcome, { status: "done" });
  t.equal(asked, 0, "it was not asked");
});

t.test("no answer of any service is read out, whatever is asked about it", REAL, async (t) => {
  const { world, ask } = await host(t);
  world.install("5.4.2");
  const server = createServer((_, response) => response.end('{"token":"hunter2","pin":4711}\nsecret_pin 4711\n'));
  server.listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const json = createServer((_, response) => response.end('{"token":"hunter2","pin":4711}')).listen(0, "127.0.0.1");
  t.teardown(() => json.close());
  await once(json, "listening");
  const jsonUrl = `http://127.0.0.1:${(json.address() as AddressInfo).port}/`;
  const at = (pointer: string): Check => {
    return { kind: "http", url: jsonUrl, status: 200, json: { pointer, equals: true }, timeoutMs: 1000 };
  };
  const checks = [
    at("/token"),
    at("/pin"),
    at(""),
    { kind: "metric", url, metric: "secret_pin", equals: 1, timeoutMs: 1000 } as const,
  ];
  const facts = await ask({ kind: "facts", probe: { ...world.probe(), version: [], checks } });
  t.match(facts, { status: "done", result: { ailments: [/stopped/, /token/, /pin/, /say/, /secret_pin/] } });
  t.notMatch(JSON.stringify(facts), /hunter2|4711/);
});

t.test("nobody but this host is asked in its name", REAL, async (t) => {
  const { world, ask } = await host(t);
  const probe = { ...world.probe(), version: [], checks: [] };
  for (const url of ["http://169.254.169.254/latest", "http://localhost.evil.example/", "http://127.0.0.1@10.0.0.1/"]) {
    const check: Check = { kind: "http", url, status: 200, timeoutMs: 1000 };
    t.match(
      await ask({ kind: "facts", probe: { ...probe, checks: [check] } }),
      { error: { code: "approval-missing" } },
      url,
    );
  }
  const tcp: Check = { kind: "tcp", host: "10.0.0.1", port: 22, timeoutMs: 1000 };
  t.match(await ask({ kind: "facts", probe: { ...probe, checks: [tcp] } }), { error: { code: "approval-missing" } });
});
