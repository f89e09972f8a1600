import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/** Made things that are costly to make again, each in a folder named after what it was made from. */
export class Cache {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * The folder `make` filled for these inputs, now or earlier. It gets its name only when it is whole, so that a build which
   * was killed, or one that runs beside this one, leaves nothing half-made to be found.
   */
  async folder(name: string, inputs: readonly string[], make: (dir: string) => Promise<void>): Promise<string> {
    const digest = createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
    const place = join(this.#dir, `${name}-${digest}`);
    if (existsSync(place)) return place;
    await mkdir(this.#dir, { recursive: true });
    const making = await mkdtemp(join(this.#dir, `.${name}-`));
    try {
      await make(making);
      await rename(making, place);
    } catch (error) {
      await rm(making, { recursive: true, force: true });
      // Somebody else was quicker, and made the same.
      if (!existsSync(place)) throw error;
    }
    return place;
  }
}
