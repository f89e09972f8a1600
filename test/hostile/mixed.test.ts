import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Http, systemHttp } from "@belay/agent";
import type { OpOf } from "@belay/shared";
import t, { type Test } from "tap";
import { World } from "../agent/support/world.js";
import { entry, packed } from "./artifacts/archive.js";

t.setTimeout(180_000);

/** A host whose service runs 5.0.0, by a real agent's hand. */
async function running(t: Test): Promise<World> {
  const world = await World.make(t);
  world.install("5.0.0");
  world.linkTo("5.0.0");
  world.spawn();
  t.match(await world.controller.step(world.startOp()), { status: "done" });
  return world;
}

/** Still the same process of the same version, that nobody has stopped. */
function untouched(t: Test, world: World, pid: string): void {
  t.equal(readFileSync(join(world.home, "pid"), "utf8"), pid, "the service is the same process");
  t.equal(readFileSync(join(world.link, "VERSION"), "utf8").includes('"5.0.0"'), true, "the link leads where it led");
}

t.test("version mix: what says another version than was planned is undone, and the error names both", async (t) => {
  const world = await running(t);
  const { controller } = world;
  const archives: [string, OpOf<"fetch">, RegExp][] = [
    ["an older release under a newer name", await world.release("6.0.0", "ok", { version: "4.0.0" }), /4\.0\.0/],
    ["another version, that lies about itself", await world.release("6.0.1", "ok", { reports: "5.0.0" }), /5\.0\.0/],
    ["a program for other machines", world.serveFile("6.0.2", packed(program(foreign()))), /svc|ENOEXEC|exec/],
    ["no program at all", world.serveFile("6.0.3", packed(entry({ path: "svc/README", content: "x" }))), /svc|ENOENT/],
  ];
  for (const [what, fetch, says] of archives) {
    t.match(await controller.step(fetch), { status: "done" }, `${what}: its bytes are those that were planned`);
    const op = world.swapOp("5.0.0", fetch.version, { sha256: fetch.sha256, startTimeoutMs: 2000 });
    const outcome = await controller.step(op);
    t.match(outcome, { status: "reverted", error: { message: says } }, what);
    t.match(readFileSync(join(world.link, "VERSION"), "utf8"), /"5\.0\.0"/, "the link leads back");
    t.match(world.starts().at(-1), /^5\.0\.0 /, "and the old version runs again");
  }
});

t.test("version mix: another artifact's folder under the planned version's name is not switched to", async (t) => {
  const world = await running(t);
  const { controller } = world;
  const other = await world.release("6.0.0");
  t.match(await controller.step(other), { status: "done" });
  const pid = readFileSync(join(world.home, "pid"), "utf8");
  const planned = "0".repeat(64);
  const says = { status: "failed", retryable: false, error: { code: "digest-mismatch" } };
  t.match(await controller.step({ ...other, sha256: planned, source: `/v1/artifacts/${planned}` }), says, "fetched");
  t.match(await controller.step(world.swapOp("5.0.0", "6.0.0", { sha256: planned })), says, "swapped to");
  world.install("6.1.0");
  const byHand = await controller.step(world.swapOp("5.0.0", "6.1.0", { sha256: planned }));
  t.match(
    byHand,
    { status: "failed", error: { code: "version-dir-changed", message: /manifest/ } },
    "put there by hand",
  );
  untouched(t, world, pid);
});

t.test("TOCTOU: a version that was changed after it was fetched is not switched to", async (t) => {
  const world = await running(t);
  const { controller } = world;
  const pid = readFileSync(join(world.home, "pid"), "utf8");
  const changes: [string, (dir: string) => void, RegExp][] = [
    ["another content", (dir) => writeFileSync(join(dir, "svc"), "#!/bin/sh\nevil\n"), /svc has another size/],
    ["the same length", (dir) => bend(join(dir, "svc")), /svc has another content/],
    ["set-uid", (dir) => chmodSync(join(dir, "svc"), 0o4755), /svc has another mode/],
    ["everybody may write", (dir) => chmodSync(join(dir, "svc"), 0o777), /svc has another mode/],
    ["gone", (dir) => rmSync(join(dir, "VERSION")), /VERSION is missing/],
    [
      "a link in its place",
      (dir) => toLink(join(dir, "svc"), join(world.versionsDir, "5.0.0", "svc")),
      /svc has another/,
    ],
    ["a folder in its place", (dir) => toFolder(join(dir, "svc")), /svc has another/],
    ["no manifest", (dir) => rmSync(join(dir, ".belay-manifest.json")), /manifest/],
    ["a manifest that is none", (dir) => writeFileSync(join(dir, ".belay-manifest.json"), "{}"), /is not a manifest/],
  ];
  for (const [index, [what, change, says]] of changes.entries()) {
    const fetch = await world.release(`6.0.${index}`);
    t.match(await controller.step(fetch), { status: "done" });
    change(join(world.versionsDir, fetch.version));
    const outcome = await controller.step(world.swapOp("5.0.0", fetch.version, { sha256: fetch.sha256 }));
    t.match(
      outcome,
      { status: "failed", retryable: false, error: { code: "version-dir-changed", message: says } },
      what,
    );
    untouched(t, world, pid);
  }
});

t.test("TOCTOU: a file put in the download's place between its check and its use is not unpacked", async (t) => {
  const world = await World.make(t);
  const evil = packed(entry({ path: "svc/svc", mode: 0o755, content: "#!/bin/sh\nevil\n" }));
  const replace = () => {
    const [partial] = readdirSync(world.versionsDir).filter((name) => name.endsWith(".partial"));
    if (partial === undefined) throw new Error("nothing is being downloaded");
    writeFileSync(join(world.dir, "evil"), evil);
    renameSync(join(world.dir, "evil"), join(world.versionsDir, partial));
  };
  const http: Http = {
    ...systemHttp,
    async open(url, options) {
      const answer = await systemHttp.open(url, options);
      if (url.includes("/artifacts/")) answer.once("end", replace);
      return answer;
    },
  };
  await world.start({ http });
  const outcome = await world.controller.step(await world.release("6.0.0"));
  t.match(outcome, { status: "failed", retryable: false, error: { code: "artifact-changed", message: /partial/ } });
  t.same(readdirSync(world.versionsDir), [], "nothing of either is left");
});

t.test("links and folders in the way of a download are not followed", async (t) => {
  const world = await World.make(t);
  world.spawn();
  const victim = join(world.dir, "victim");
  writeFileSync(victim, "precious");
  mkdirSync(join(world.dir, "precious-folder"));
  const fetch = await world.release("6.0.0");
  const partial = join(world.versionsDir, `.belay-${fetch.sha256}.partial`);
  symlinkSync(victim, partial);
  t.match(await world.controller.step(fetch), { status: "done" });
  t.equal(readFileSync(victim, "utf8"), "precious");

  const next = await world.release("6.0.1");
  symlinkSync(join(world.dir, "precious-folder"), join(world.versionsDir, ".belay-6.0.1.unpacking"));
  t.match(await world.controller.step(next), { status: "done" });
  t.same(readdirSync(join(world.dir, "precious-folder")), [], "nothing was unpacked over there");
});

function program(content: Buffer): Buffer {
  return entry({ path: "svc/svc", mode: 0o755, content });
}

/** An executable of a machine that this is not. */
function foreign(): Buffer {
  const elf = Buffer.alloc(120);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(elf);
  elf.writeUInt16LE(2, 16);
  elf.writeUInt16LE(process.arch === "arm64" ? 62 : 183, 18);
  return elf;
}

function bend(file: string): void {
  const bytes = readFileSync(file);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

function toLink(file: string, target: string): void {
  rmSync(file);
  symlinkSync(target, file);
}

function toFolder(file: string): void {
  rmSync(file);
  mkdirSync(file);
}
