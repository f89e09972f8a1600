import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import { askHost } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet } from "../support/fleet-on-disk/small-fleet.js";
import { buildRelease } from "../support/standin/build-release.js";
import { MODULES_FROM } from "../support/standin/program.js";

const sha256 = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

t.test("a release has Teleport's layout, and its programs run from wherever they are unpacked", async (t) => {
  const out = t.testdir();
  const built = await buildRelease({ version: "6.2.31", out });
  t.equal(basename(built.file), "teleport-v6.2.31-linux-amd64-bin.tar.gz");
  t.equal(built.size, statSync(built.file).size);
  t.equal(built.sha256, sha256(built.file));
  t.equal(readFileSync(`${built.file}.sha256`, "utf8"), `${built.sha256}  ${basename(built.file)}\n`);

  execFileSync("tar", ["xzf", built.file, "-C", out]);
  const unpacked = join(out, "teleport");
  for (const path of ["teleport", "tctl", "tsh", "install"]) t.ok(statSync(join(unpacked, path)).mode & 0o100, path);
  for (const path of ["VERSION", "examples/systemd/teleport.service"]) t.ok(existsSync(join(unpacked, path)), path);
  const line = /^Teleport v6\.2\.31 git:v6\.2\.31-0-g[0-9a-f]{7} go1\.16\.2\n$/;
  for (const program of ["teleport", "tctl", "tsh"]) {
    t.match(execFileSync(join(unpacked, program), ["version"], { encoding: "utf8" }), line, program);
  }
});

t.test("the same input gives the same bytes, another input others", async (t) => {
  const build = (name: string, more: object) =>
    buildRelease({ version: "6.2.31", out: join(t.testdirName, name), ...more });
  t.testdir();
  const first = await build("a", {});
  t.equal((await build("b", {})).sha256, first.sha256);
  t.not((await build("c", { behaviour: "never-ready" })).sha256, first.sha256);
  t.not((await build("d", { version: "6.2.30" })).sha256, first.sha256);
});

t.test("padding gives a release its size, packed too", async (t) => {
  const padded = await buildRelease({ version: "6.2.31", out: t.testdir(), paddingBytes: 1_000_000 });
  t.ok(padded.size > 1_000_000, `${padded.size} bytes`);
  t.equal((await buildRelease({ version: "6.2.31", out: t.testdir(), paddingBytes: 1_000_000 })).sha256, padded.sha256);
});

t.test("a release runs where Node and its modules lie elsewhere than here", async (t) => {
  const elsewhere = t.testdir({ modules: { node_modules: {} } });
  const node = join(elsewhere, "node");
  symlinkSync(process.execPath, node);
  for (const module of ["better-sqlite3", "bindings", "file-uri-to-path"]) {
    symlinkSync(join(MODULES_FROM, "node_modules", module), join(elsewhere, "modules", "node_modules", module));
  }
  const fleet = await SmallFleet.layOut(t, "5.4.2", [cluster("main", { auth: 1 })]);
  await fleet.install("auth-1", { version: "5.4.3", node, modulesFrom: join(elsewhere, "modules") });
  const { install } = fleet.host("auth-1");
  const text = (path: string) => readFileSync(join(install, "current", path), "utf8");
  for (const program of ["teleport", "tctl", "tsh"]) t.match(text(program), new RegExp(`^#!/usr/bin/env -S ${node} `));
  t.match(JSON.parse(text("release.json")), { modulesFrom: join(elsewhere, "modules") });
  await fleet.start("auth-1");
  t.match(await askHost(fleet.host("auth-1")), { version: "5.4.3", ready: 200 }, "with its driver from there");
});
