import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { whyNoMounts } from "../../support/mounts.js";

/** Why a test can't have small disks here, for `skip`; false: it can. */
export const noSmallDisks: string | false = whyNoMounts() ?? false;

/** What of a disk there is none of any more. */
export type Lack = "bytes" | "inodes";
export const LACKS: readonly Lack[] = ["bytes", "inodes"];

const CHUNK_BYTES = 64 * 1024;

/** A disk of a folder's own, gone with its test. What is in the folder is kept, on it. */
export class SmallDisk {
  readonly at: string;
  readonly #ballast: string;

  private constructor(at: string) {
    this.at = at;
    this.#ballast = join(at, ".ballast");
  }

  static mount(t: Test, at: string, { bytes = 4_000_000, inodes = 200 } = {}): SmallDisk {
    mkdirSync(at, { recursive: true });
    const before = `${at}.before`;
    execFileSync("cp", ["-a", at, before]);
    clearLeftovers();
    execFileSync("mount", [
      "-t",
      "tmpfs",
      "-o",
      `size=${bytes},nr_inodes=${inodes},mode=755`,
      `${NAME}${process.pid}`,
      at,
    ]);
    // Lazily: a service that was killed a moment ago may still hold its log.
    t.teardown(() => void execFileSync("umount", ["--lazy", at]));
    execFileSync("cp", ["-a", `${before}/.`, at]);
    rmSync(before, { recursive: true });
    return new SmallDisk(at);
  }

  /** Takes all there is of it but so many. */
  fill(lack: Lack, leave = 0): void {
    mkdirSync(this.#ballast, { recursive: true });
    if (lack === "inodes") {
      for (let n = 0; statfsSync(this.at).ffree > leave; n += 1) writeFileSync(join(this.#ballast, String(n)), "");
      return;
    }
    const file = openSync(join(this.#ballast, "bytes"), "w");
    try {
      for (let free = this.#freeBytes; free > leave; free = this.#freeBytes) {
        writeSync(file, Buffer.alloc(Math.min(free - leave, CHUNK_BYTES)));
      }
    } finally {
      closeSync(file);
    }
  }

  /** Gives back what was taken. */
  empty(): void {
    rmSync(this.#ballast, { recursive: true });
  }

  get #freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.at);
    return bavail * bsize;
  }
}

/** Of each small disk, with the process that made it. */
const NAME = "belay-small-disk-";

/** Disks of tests that were killed. */
function clearLeftovers(): void {
  for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n")) {
    const [source = "", at = ""] = line.split(" ");
    const pid = source.startsWith(NAME) ? source.slice(NAME.length) : null;
    // Another test may be at the same.
    if (pid !== null && !existsSync(`/proc/${pid}`)) spawnSync("umount", ["--lazy", at]);
  }
}
