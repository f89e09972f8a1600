import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPackages } from "../package/build.js";
import { Cache } from "../package/cache.js";
import type { Packages } from "./belay.js";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
/** What a package is made from, beside what the lockfile names. */
const SOURCES = [
  "packages/shared/dist",
  "packages/agent/dist",
  "packages/controller/dist",
  "packaging",
  "scripts/package",
];
const FILES = ["package-lock.json", "packages/controller/package.json"];

/** The Debian packages of these very sources (which must be built), kept from one lab to the next while nothing changes. */
export async function labPackages(version?: string): Promise<Packages> {
  const cache = new Cache(join(REPOSITORY, "node_modules/.cache/belay-lab"));
  const folder = await cache.folder("packages", [version ?? "", await digestOfSources()], async (out) => {
    await buildPackages({ out, ...(version === undefined ? {} : { version }) });
  });
  const files = await readdir(folder);
  const named = (name: string) => {
    const file = files.find((each) => each.startsWith(`${name}_`));
    if (file === undefined) throw new Error(`no package ${name} was built`);
    return join(folder, file);
  };
  const agentRelease = files.find((each) => each.startsWith("belay-agent-v"));
  if (agentRelease === undefined) throw new Error("no release of the agent was built");
  return { agent: named("belay-agent"), controller: named("belay"), agentRelease: join(folder, agentRelease) };
}

async function digestOfSources(): Promise<string> {
  const digest = createHash("sha256");
  const below = async (dir: string) => {
    const entries = await readdir(join(REPOSITORY, dir), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };
  const found = (await Promise.all(SOURCES.map(below))).flat().filter((file) => !/\.(map|d\.ts)$/.test(file));
  for (const file of [...found.sort(), ...FILES.map((name) => join(REPOSITORY, name))]) {
    digest.update(`${file}\0`).update(await readFile(file));
  }
  return digest.digest("hex");
}
