import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PowerSwitch } from "./power-switch.js";

export type FileSystem = "ext4" | "xfs";
export const FILE_SYSTEMS: readonly FileSystem[] = ["ext4", "xfs"];

/** What e2fsck says where all is well now. */
const CORRECTED = 1;
/** The smallest that mkfs.xfs takes; ext4 is quicker to recover when small. */
const BYTES: Record<FileSystem, number> = { ext4: 64 * 2 ** 20, xfs: 300 * 2 ** 20 };
const MAKE: Record<FileSystem, string[]> = {
  ext4: ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard"],
  xfs: ["mkfs.xfs", "-q", "-f", "-K"],
};
/**
 * The second of each takes away what ext4 does beyond POSIX for programs that forget their fsyncs: nobody promised Belay
 * that the host's owner mounts it that way.
 */
const OPTIONS: Record<FileSystem, readonly string[]> = { ext4: ["", "noauto_da_alloc,data=writeback"], xfs: [""] };

/** Replays the journal, and looks at all where the kernel has noted an error. Throws where a person would have to decide. */
function check(device: string): void {
  const { status, stdout } = spawnSync("e2fsck", ["-p", device], { encoding: "utf8" });
  if (status !== 0 && status !== CORRECTED) throw new Error(`e2fsck ends with ${status}: ${stdout}`);
}

/** A file system on a loop device over a file, made anew at will. */
export class Disk {
  readonly dir: string;
  readonly #fs: FileSystem;
  readonly #image: string;
  readonly #device: string;
  readonly #power: PowerSwitch;
  #made = 0;

  constructor(name: string, fs: FileSystem, folder: string, power: PowerSwitch) {
    this.dir = join(folder, name);
    this.#fs = fs;
    this.#power = power;
    this.#image = join(folder, `${name}.img`);
    mkdirSync(this.dir);
    writeFileSync(this.#image, "");
    truncateSync(this.#image, BYTES[fs]);
    this.#device = power.attach(this.#image);
  }

  /** Empty, and unmounted. */
  format(): void {
    const [program, ...args] = MAKE[this.#fs] as [string, ...string[]];
    execFileSync(program, [...args, this.#device]);
    this.#made += 1;
  }

  /**
   * As a boot does, with a check before. Forced off, ext4 now and then leaves damage of its own in its bitmaps (the kernel says so:
   * "bad block bitmap checksum"), which a host's next boot mends, and which no program above it has to answer for.
   */
  mount(): void {
    if (this.#fs === "ext4") check(this.#device);
    const options = OPTIONS[this.#fs];
    this.#power.mount(this.#device, this.dir, this.#fs, options[this.#made % options.length] ?? "");
  }

  unmount(): void {
    this.#power.unmount(this.dir);
  }
}
