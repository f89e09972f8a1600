import { execFileSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { PowerSwitch } from "./power-switch.js";

export type FileSystem = "ext4" | "xfs";
export const FILE_SYSTEMS: readonly FileSystem[] = ["ext4", "xfs"];

/** The smallest that mkfs.xfs takes; ext4 is quicker to recover when small. */
const BYTES: Record<FileSystem, number> = { ext4: 64 * 2 ** 20, xfs: 300 * 2 ** 20 };
/** What the file system that holds the disks' images needs beside them: its log, above all. */
const BESIDE_BYTES = 256 * 2 ** 20;
const MAKE: Record<FileSystem, string[]> = {
  ext4: ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard"],
  xfs: ["mkfs.xfs", "-q", "-f", "-K"],
};
/**
 * The second of each takes away what ext4 does beyond POSIX for programs that forget their fsyncs: nobody promised Belay
 * that the host's owner mounts it that way.
 */
const OPTIONS: Record<FileSystem, readonly string[]> = { ext4: ["", "noauto_da_alloc,data=writeback"], xfs: [""] };
const BUSY_TRIES = 2_500;
const BUSY_MS = 2;

/**
 * The disks of one machine, which lose their power at the same moment, and with it whatever they had not been told to keep.
 *
 * Each disk is a file system on a loop device, over an image; the images lie together in an XFS of their own (the *medium*), and
 * a cut shuts down the medium. So a disk only ever sees what a disk sees whose power goes: no write arrives any more, and of those
 * that did, the ones that no flush came after are gone, as out of a drive's own cache. Shut down itself, in the midst of a
 * change, ext4 leaves half of that change on its disk (docs/decisions/0048).
 */
export class Disks {
  /** Where each is mounted. */
  readonly dirs: readonly string[];
  readonly #fs: FileSystem;
  readonly #power: PowerSwitch;
  readonly #medium: { readonly device: string; readonly dir: string };
  readonly #images: readonly string[];
  #devices: string[] = [];
  #made = 0;

  constructor(names: readonly string[], fs: FileSystem, folder: string, power: PowerSwitch) {
    this.#fs = fs;
    this.#power = power;
    this.dirs = names.map((name) => join(folder, name));
    const image = join(folder, "medium.img");
    writeFileSync(image, "");
    truncateSync(image, BYTES[fs] * names.length + BESIDE_BYTES);
    this.#medium = { device: power.attach(image), dir: join(folder, "medium") };
    for (const dir of [...this.dirs, this.#medium.dir]) mkdirSync(dir);
    make("xfs", this.#medium.device);
    this.#images = names.map((name) => join(this.#medium.dir, `${name}.img`));
  }

  /** Empty, and unmounted. */
  async format(): Promise<void> {
    this.#mountMedium();
    for (const image of this.#images) {
      writeFileSync(image, "");
      truncateSync(image, BYTES[this.#fs]);
    }
    this.#attach();
    for (const device of this.#devices) make(this.#fs, device);
    this.#made += 1;
    await this.#putAway();
  }

  /** As a boot does: journals are replayed. */
  mount(): void {
    this.#mountMedium();
    this.#attach();
    const options = OPTIONS[this.#fs];
    const chosen = options[this.#made % options.length] ?? "";
    for (const [at, dir] of this.dirs.entries()) {
      this.#power.mount(this.#devices[at] as string, dir, this.#fs, chosen);
    }
  }

  /** The medium first. The disks after it, so that whoever still works on them hears at once that they are gone. */
  cut(): void {
    this.#power.cut([this.#medium.dir, ...this.dirs]);
  }

  async unmount(): Promise<void> {
    for (const dir of this.dirs) await this.#unmount(dir);
    await this.#putAway();
  }

  #mountMedium(): void {
    this.#power.mount(this.#medium.device, this.#medium.dir, "xfs", "");
  }

  #attach(): void {
    this.#devices = this.#images.map((image) => this.#power.attach(image));
  }

  async #putAway(): Promise<void> {
    for (const device of this.#devices.splice(0)) this.#power.detach(device);
    await this.#unmount(this.#medium.dir);
  }

  /** A stream that was being read closes its file a moment after everybody has let go of it, and so does whoever looks at new devices. */
  async #unmount(dir: string): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        this.#power.unmount(dir);
        return;
      } catch (error) {
        if (tries === BUSY_TRIES || !String(error).includes("busy")) throw error;
        await wait(BUSY_MS);
      }
    }
  }
}

function make(fs: FileSystem, device: string): void {
  const [program, ...args] = MAKE[fs] as [string, ...string[]];
  execFileSync(program, [...args, device]);
}
