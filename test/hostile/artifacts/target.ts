import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpOf } from "@belay/shared";
import type { Test } from "tap";
import { World } from "../../agent/support/world.js";
import { lookAtTree, type Sight } from "../support/tree.js";
import { MAX_UNPACKED_BYTES } from "./archives.js";

/** A real agent, in a process of its own, on a host with files that nobody may touch. */
export class Target {
  readonly world: World;
  /** Whether what is taken of the disk is the agent's alone. */
  #measures = false;
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
    target.#measures = mounted;
    world.install("5.0.0");
    world.linkTo("5.0.0");
    world.spawn();
    await world.controller.connected();
    target.#before = target.#look();
    target.#atFirst = target.#taken();
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

  /** What came of something, and how much of the versions' disk was taken meanwhile. */
  async watched<T>(work: () => Promise<T>): Promise<{ outcome: T; most: number }> {
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, this.#taken());
    }, 2);
    try {
      const outcome = await work();
      return { outcome, most };
    } finally {
      clearInterval(watching);
    }
  }

  #taken(): number {
    if (!this.#measures) return 0;
    const { blocks, bfree, bsize } = statfsSync(this.world.versionsDir);
    return (blocks - bfree) * bsize - this.#atFirst;
  }

  #look(): Record<string, Sight> {
    return lookAtTree(this.world.dir, [/^state\//, /^versions\/\.belay-[0-9a-f]{64}\.partial$/]);
  }
}
