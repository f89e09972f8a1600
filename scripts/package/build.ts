import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileAddon } from "./addon.js";
import { buildAgentDeb } from "./agent-package.js";
import { bundleAgent } from "./bundle.js";
import { Cache } from "./cache.js";
import { buildControllerDeb } from "./controller-package.js";
import { makeExecutable } from "./executable.js";
import { checkMachine } from "./machine.js";
import { packRelease } from "./release.js";
import { fetchRuntime } from "./runtime.js";
import { ROOT, readEdition } from "./source.js";

export const PACKAGES = ["belay-agent", "belay"] as const;
export type PackageName = (typeof PACKAGES)[number];

export interface BuildOptions {
  out: string;
  /** In place of the changelog's. */
  version?: string;
  /** Default: all. */
  only?: readonly PackageName[];
  /** Where the compiled addon and the pinned Node.js are kept. */
  cache?: string;
}

/** Builds the packages into `out` and returns the paths of all files made. Needs the workspaces built (`tsc -b`). */
export async function buildPackages(options: BuildOptions): Promise<string[]> {
  checkMachine();
  const edition = await readEdition(options.version);
  const only = options.only ?? PACKAGES;
  const cache = new Cache(options.cache ?? join(ROOT, "node_modules/.cache/belay-package"));
  const runtime = await fetchRuntime(cache);
  await mkdir(options.out, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), "belay-package-"));
  const made: string[] = [];
  try {
    if (only.includes("belay-agent")) {
      const executable = join(options.out, "belay-agent");
      const { file: script, packages: folders } = await bundleAgent(join(work, "belay-agent.cjs"), edition.version);
      await makeExecutable({ runtime, script, out: executable });
      const deb = await buildAgentDeb({
        edition,
        executable,
        runtime,
        folders,
        staging: join(work, "agent"),
        out: options.out,
      });
      made.push(executable, await packRelease(executable, edition, options.out), deb);
    }
    if (only.includes("belay")) {
      const addon = await compileAddon(runtime, cache);
      made.push(await buildControllerDeb({ edition, runtime, addon, staging: join(work, "belay"), out: options.out }));
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return made;
}
