import { execFile } from "node:child_process";
import { mkdir, mkdtemp, open, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RunView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { isAtFailure, PATIENCE_MS, Scene, SETTLE } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const execute = promisify(execFile);
/** A preflight asks for 64 MiB below the backups; installed versions and the agent's state take a few more. */
const DISK = "size=120m";
/** More than the agent keeps for itself, and too little for what it is asked to do. */
const LITTLE_BYTES = 2_000_000;
const RELEASE_BYTES = 4_000_000;
const CHUNK_BYTES = 1024 * 1024;

t.test(
  "a full disk: the old version goes on, and a retry succeeds once there is room",
  { timeout: PATIENCE_MS, skip: await whyNoDisks() },
  async (t) => {
    const disks = new Map<string, string>();
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "node-1": ["node"], "node-2": ["node"] },
      version: "5.4.2",
      releases: [{ version: "5.5.0", paddingBytes: RELEASE_BYTES }],
      rollout: { node: { ...SETTLE, attempts: 2 } },
      prepare: async (dir) => {
        for (const host of ["auth-1", "node-1"]) disks.set(host, await mountDisk(t, join(dir, "hosts", host)));
      },
    });
    const { api } = scene;
    const diskOf = (host: string) => disks.get(host) ?? "";

    // A backup takes it along, and doesn't fit.
    await writeFile(join(scene.host("node-1").data, "privkey.pem"), Buffer.alloc(RELEASE_BYTES));

    // Preflight has let auth-1 pass, and waits for node-2, when auth-1's disk fills.
    const plan = await scene.plan("5.5.0");
    await scene.agent("node-2").kill();
    await scene.untilHost("node-2", "is away", ({ present }) => !present);
    const { id: run } = await api.start(plan.id);
    await scene.see(run, "the others through preflight", ({ stages }) => stages[0]?.hosts.ok === 2);
    await fill(diskOf("auth-1"), LITTLE_BYTES);
    scene.agent("node-2").start();
    const fetching = await scene.leadToFailure(run);
    t.match(
      fetching.failures,
      [{ host: "auth-1", stage: "hop-1.main.fetch", error: { code: "disk-full" } }],
      "at fetch",
    );
    t.match(
      fetching.gate.cause?.message,
      /auth-1: .*versions has \d+ bytes and \d+ inodes free; fetching 5\.5\.0 needs \d+/,
      "the gate says what is missing",
    );
    await scene.runs(t, { "auth-1": "5.4.2", "node-1": "5.4.2", "node-2": "5.4.2" });

    await empty(diskOf("auth-1"));
    await fill(diskOf("node-1"), LITTLE_BYTES);
    await api.command(run, "retry");
    const isAtBackup = (view: RunView) => isAtFailure(view) && view.gate?.stage === "hop-1.main.backup";
    const backingUp = await scene.see(run, "a failure gate at backup", isAtBackup);
    t.match(
      backingUp.failures.at(-1),
      { host: "node-1", error: { code: /^(backup-no-room|os-enospc)$/ } },
      "at backup",
    );
    t.same(await api.backups(run, "node-1"), [], "half a backup is none");

    await empty(diskOf("node-1"));
    await api.command(run, "retry");
    await scene.leadToGate(run, "hop-1.main.node");
    t.match(await api.backups(run, "node-1"), [{ version: "5.4.2" }], "with room there is one");

    await fill(diskOf("node-1"), 0);
    await api.approve(run, "hop-1.main.node");
    const swapping = await scene.see(run, "a failure gate at the swap", isAtFailure);
    t.match(swapping.gate?.cause, { code: "canary-failed", context: { host: "node-1", error: "disk-full" } });
    t.match(swapping.gate?.cause?.message, new RegExp(`no space left on ${diskOf("node-1")}`), "and where");
    t.same(await scene.started("node-1"), ["5.4.2"], "what can't be written down is not begun (I7)");
    await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.4.2", "node-2": "5.4.2" });

    await empty(diskOf("node-1"));
    await api.command(run, "retry");
    t.equal((await scene.leadToEnd(run)).result, "done");
    await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0", "node-2": "5.5.0" });
    for (const host of ["auth-1", "node-1", "node-2"]) t.same(await scene.started(host), ["5.4.2", "5.5.0"], host);
  },
);

/** Why a test can't have small disks of its own here; null: it can. */
async function whyNoDisks(): Promise<string | false> {
  const dir = await mkdtemp(join(tmpdir(), "belay-mount-"));
  try {
    await execute("mount", ["-t", "tmpfs", "-o", DISK, "tmpfs", dir]);
    await execute("umount", [dir]);
    return false;
  } catch (error) {
    return `mounting a tmpfs takes root: ${(error as Error).message}`;
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** A small disk for a host's whole folder, gone with the test. */
async function mountDisk(t: Test, dir: string): Promise<string> {
  await mkdir(dir, { recursive: true });
  await execute("mount", ["-t", "tmpfs", "-o", DISK, "tmpfs", dir]);
  // Lazily: a service that was killed a moment ago may still hold its log.
  t.teardown(() => execute("umount", ["--lazy", dir]));
  return dir;
}

/** Leaves at most so many bytes of the disk. */
async function fill(disk: string, leave: number): Promise<void> {
  const file = await open(join(disk, "ballast"), "w");
  try {
    for (let free = await freeOn(disk); free > leave; free = await freeOn(disk)) {
      await file.write(Buffer.alloc(Math.min(free - leave, CHUNK_BYTES)));
    }
  } finally {
    await file.close();
  }
}

async function freeOn(disk: string): Promise<number> {
  const { bavail, bsize } = await statfs(disk);
  return bavail * bsize;
}

function empty(disk: string): Promise<void> {
  return rm(join(disk, "ballast"));
}
