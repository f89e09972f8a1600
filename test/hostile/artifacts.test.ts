import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpOf } from "@belay/shared";
import t, { type Test } from "tap";
import { World } from "../agent/support/world.js";
import { entry, packed } from "./artifacts/archive.js";
import { ARCHIVE_ATTACKS, MAX_UNPACKED_BYTES } from "./artifacts/archives.js";
import { lookAtTree, type Sight } from "./support/tree.js";

t.setTimeout(300_000);

/** Folders and the ends of blocks. */
const SLACK_BYTES = 4_000_000;

/** A real agent, in a process of its own, on a host with files that nobody may touch. */
class Target {
  readonly world: World;
  /** Whether what is taken of the disk is the agent's alone. */
  measures = false;
  #before: Record<string, Sight> = {};
  #atFirst = 0;
  /** Each attack has a version of its own, so that none hides behind what another left. */
  #versions = 0;
  readonly #known = new Set(["5.0.0"]);

  private constructor(world: World) {
    this.world = world;
  }

  static async open(t: Test): Promise<Target> {
    const world = await World.make(t);
    world.controller.probe = null;
    // Making a bomb takes this process seconds, in which it sends nothing.
    world.controller.pingEveryMs = 20_000;
    const target = new Target(world);
    mkdirSync(join(world.dir, "etc"));
    writeFileSync(join(world.dir, "etc", "passwd"), "root:x:0:0\n", { mode: 0o640 });
    writeFileSync(join(world.dir, "teleport"), "the program that runs here\n", { mode: 0o755 });
    // A disk of its own, so that what is taken of it can be measured; whoever isn't root measures what everybody takes.
    const mounted =
      spawnSync("mount", ["-t", "tmpfs", "-o", "size=512m", "belay-test", world.versionsDir]).status === 0;
    if (mounted) t.teardown(() => void spawnSync("umount", [world.versionsDir]));
    target.measures = mounted;
    world.install("5.0.0");
    world.linkTo("5.0.0");
    world.spawn();
    await world.controller.connected();
    target.#before = target.#look();
    target.#atFirst = target.taken();
    return target;
  }

  fetchOp(bytes: Buffer, more: Partial<OpOf<"fetch">> = {}): OpOf<"fetch"> {
    this.#versions += 1;
    return { ...this.world.serveFile(`6.0.${this.#versions}`, bytes), maxUnpackedBytes: MAX_UNPACKED_BYTES, ...more };
  }

  /** What is different on the host since this was asked last: nothing, but for what the agent may keep (its own memory, a part to be resumed). */
  changes(): string[] {
    const now = this.#look();
    const names = new Set([...Object.keys(this.#before), ...Object.keys(now)]);
    const changed = [...names].filter((name) => now[name] !== this.#before[name]).sort();
    this.#before = now;
    return changed;
  }

  left(): string[] {
    const left = readdirSync(this.world.versionsDir).filter((name) => !this.#known.has(name));
    for (const name of left) this.#known.add(name);
    return left;
  }

  /** Bytes that are taken on the versions' own disk. */
  taken(): number {
    const { blocks, bfree, bsize } = statfsSync(this.world.versionsDir);
    return (blocks - bfree) * bsize - this.#atFirst;
  }

  #look(): Record<string, Sight> {
    return lookAtTree(this.world.dir, [/^state\//, /^versions\/\.belay-[0-9a-f]{64}\.partial$/]);
  }
}

t.test("artifact attacks: archives", async (t) => {
  const target = await Target.open(t);
  const { world } = target;
  for (const attack of ARCHIVE_ATTACKS) {
    const bytes = attack.bytes(world.dir);
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, target.taken());
    }, 2);
    const outcome = await world.controller.step(target.fetchOp(bytes));
    clearInterval(watching);
    await t.test(attack.name, async (t) => {
      t.match(outcome, { status: "failed", retryable: false, error: { code: attack.code, message: attack.says } });
      t.match(outcome, { error: { hint: String } }, "says what to do");
      t.same(target.changes(), [], "the host is as it was");
      t.same(target.left(), [], "nothing is left, no part either");
      if (!target.measures) t.pass("only root has a disk of its own to measure");
      else t.ok(most <= bytes.length + MAX_UNPACKED_BYTES + SLACK_BYTES, `at most ${most} bytes were on the disk`);
    });
  }
  t.ok(ARCHIVE_ATTACKS.length >= 30, `${ARCHIVE_ATTACKS.length} archives`);

  await t.test("and an honest one is taken, by the same agent", async (t) => {
    const honest = packed(entry({ path: "teleport/teleport", mode: 0o755, content: "#!/bin/sh\n" }));
    t.match(await world.controller.step(target.fetchOp(honest)), { status: "done", changed: true });
    const [version = ""] = target.left();
    t.ok(target.changes().includes(`versions/${version}/teleport`), "which this test would have seen");
    t.equal(readFileSync(join(world.versionsDir, version, "teleport"), "utf8"), "#!/bin/sh\n");
  });
});
