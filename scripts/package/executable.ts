import { chmod, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./run.js";
import type { Runtime } from "./runtime.js";

/** Its own program, in a process of its own: it says things on stdout that mean nothing. */
const POSTJECT = fileURLToPath(import.meta.resolve("postject/dist/cli.js"));
/** Node looks for this very word in itself to learn whether it carries a program. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

/**
 * V8 as an idle agent wants it: young objects in the smallest space there is (the default grows to 48 MiB), a heap that
 * collects long before the unit's MemoryMax ends it, no threads of its own, and no optimizing compiler, whose code alone
 * is 5 MiB in memory once it has run. An agent waits; what it computes (digests, unpacking) Node.js does in native code.
 */
const V8_FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=64", "--v8-pool-size=0", "--no-opt", "--no-maglev"];

/** Makes one executable of Node and a CommonJS script. */
export async function makeExecutable(options: { runtime: Runtime; script: string; out: string }): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "belay-executable-"));
  try {
    const blob = join(dir, "blob");
    // By its bare name: as what it is named here, its code goes by in the executable.
    await copyFile(options.script, join(dir, "belay-agent.cjs"));
    const config = {
      main: "belay-agent.cjs",
      output: blob,
      disableExperimentalSEAWarning: true,
      // A code cache differs from build to build, and would save 20 ms of a start that happens once.
      useCodeCache: false,
      useSnapshot: false,
      execArgv: V8_FLAGS,
      execArgvExtension: "none",
    };
    await writeFile(join(dir, "sea.json"), JSON.stringify(config));
    run(options.runtime.program, ["--experimental-sea-config", "sea.json"], { cwd: dir });
    await copyFile(options.runtime.program, options.out);
    await chmod(options.out, 0o755);
    run(process.execPath, [POSTJECT, options.out, "NODE_SEA_BLOB", blob, "--sentinel-fuse", FUSE]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
