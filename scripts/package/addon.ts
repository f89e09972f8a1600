import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Cache } from "./cache.js";
import { nodeGyp } from "./machine.js";
import { run } from "./run.js";
import type { Runtime } from "./runtime.js";
import { ROOT } from "./source.js";

const SOURCE = join(ROOT, "node_modules/better-sqlite3");

/** Another recipe makes another addon. */
const RECIPE = "2";

/** better-sqlite3's addon, compiled for the Node.js of the package (the installed one fits the Node.js of this machine). */
export async function compileAddon(runtime: Runtime, cache: Cache): Promise<string> {
  const { version } = JSON.parse(await readFile(join(SOURCE, "package.json"), "utf8")) as { version: string };
  const compiler = run("g++", ["--version"]);
  const dir = await cache.folder("addon", [RECIPE, version, runtime.version, compiler], async (making) => {
    const source = join(making, "source");
    await cp(SOURCE, source, { recursive: true, filter: (path) => path !== join(SOURCE, "build") });
    // Neither the folder of the build nor a number made from it may remain in what is built.
    const flags = `-ffile-prefix-map=${making}=. -ffile-prefix-map=${runtime.nodeDir}=node`;
    run(process.execPath, [nodeGyp(), "rebuild", "--release", `--nodedir=${runtime.nodeDir}`, "-j", "max"], {
      cwd: source,
      env: { CFLAGS: flags, CXXFLAGS: flags, LDFLAGS: "-Wl,--build-id=none" },
    });
    run("strip", [
      "--strip-unneeded",
      "-o",
      join(making, "better_sqlite3.node"),
      join(source, "build/Release/better_sqlite3.node"),
    ]);
    await rm(source, { recursive: true });
  });
  return join(dir, "better_sqlite3.node");
}
