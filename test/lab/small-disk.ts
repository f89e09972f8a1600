import { mkdir, open, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LabScene } from "./scene.js";

/** How a disk is filled: with bytes, or with files that have none. */
export type Filling = "bytes" | "inodes";
/** In words of a failure: it was for want of these. */
export const ROOM = /no space left|no room|inodes|bytes|ENOSPC/i;

const CHUNK_BYTES = 1024 * 1024;

/** Nothing is left of the bytes, or of the inodes, of the small disk that a host was given. */
export function fill(scene: LabScene, host: string, filling: Filling): Promise<void> {
  return fillFolder(ballastOf(scene, host), filling);
}

export function empty(scene: LabScene, host: string): Promise<void> {
  return rm(ballastOf(scene, host), { recursive: true });
}

/** On the disk as this machine sees it. */
function ballastOf(scene: LabScene, host: string): string {
  return join(scene.lab.hosts.dir, host, "disk", "ballast");
}

async function fillFolder(ballast: string, filling: Filling): Promise<void> {
  await mkdir(ballast);
  if (filling === "inodes") {
    for (let count = 0; (await statfs(ballast)).ffree > 0; count += 1)
      await writeFile(join(ballast, String(count)), "");
    return;
  }
  const file = await open(join(ballast, "0"), "w");
  try {
    for (let size = CHUNK_BYTES; size >= 1; ) {
      const full = await file.write(Buffer.alloc(size)).then(
        () => false,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== "ENOSPC") throw error;
          return true;
        },
      );
      if (full) size = Math.floor(size / 2);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * A folder of a host that is in memory from now on, and small: for what can't lie on its small disk. `fill` it and `empty` it by the
 * host's own shell.
 */
export class SmallFolder {
  readonly #scene: LabScene;
  readonly #host: string;
  readonly #path: string;

  private constructor(scene: LabScene, host: string, path: string) {
    this.#scene = scene;
    this.#host = host;
    this.#path = path;
  }

  /** What lies in it stays in it. `units` are stopped meanwhile. */
  static async make(
    scene: LabScene,
    host: string,
    { path, units }: { path: string; units: readonly string[] },
  ): Promise<SmallFolder> {
    await scene.machine(host).shell(`
      systemctl stop ${units.join(" ")}
      cp -a ${path} ${path}.before
      mount -t tmpfs -o size=8m,nr_inodes=64,mode="$(stat -c %a ${path})" tmpfs ${path}
      cp -a ${path}.before/. ${path}/
      systemctl start ${units.join(" ")}
    `);
    return new SmallFolder(scene, host, path);
  }

  async fill(filling: Filling): Promise<void> {
    const left = filling === "bytes" ? "%a" : "%d";
    const more = filling === "bytes" ? 'head -c 4096 /dev/zero >>"$into/0" || true' : ': >"$into/$count"';
    await this.#scene.machine(this.#host).shell(`
      into=${this.#path}/ballast
      mkdir "$into"
      for count in $(seq 100000); do
        [ "$(stat -f -c ${left} "$into")" = 0 ] && break
        ${more}
      done
      [ "$(stat -f -c ${left} "$into")" = 0 ]
    `);
  }

  async empty(): Promise<void> {
    await this.#scene.machine(this.#host).must(["rm", "-r", `${this.#path}/ballast`]);
  }
}
