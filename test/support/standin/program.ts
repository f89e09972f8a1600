import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { unhooked } from "../unhooked.js";
import type { ArchiveFile } from "./archive.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const REPOSITORY = join(HERE, "..", "..", "..");
const COMPILER = join(REPOSITORY, "node_modules", "typescript", "bin", "tsc");
const CACHE = join(REPOSITORY, "node_modules", ".cache", "belay-standin");

/** Where the stand-in finds better-sqlite3 and pg, on this machine. */
export const MODULES_FROM = REPOSITORY;

/**
 * The stand-in's program as plain JavaScript, which `node` runs with no loader: a start costs a third of one through
 * tsx. Compiled once per state of the sources and kept under node_modules; processes that compile at the same moment
 * do the same work, and the first to rename wins.
 */
export async function compiledProgram(): Promise<ArchiveFile[]> {
  const folder = join(CACHE, await digestOfSources());
  if (!existsSync(folder)) await compileTo(folder);
  const names = (await readdir(folder)).sort();
  return Promise.all(
    names.map(async (name) => ({ path: `lib/${name}`, mode: 0o644, content: await readFile(join(folder, name)) })),
  );
}

/** One of the programs as one module, with nothing beside it but the drivers that it loads late. */
export async function bundledProgram(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(HERE, "src", `${name}.ts`)],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

async function digestOfSources(): Promise<string> {
  const digest = createHash("sha256");
  for (const name of (await readdir(join(HERE, "src"))).sort()) {
    digest.update(`${name}\0`).update(await readFile(join(HERE, "src", name)));
  }
  digest.update(await readFile(join(HERE, "tsconfig.json")));
  return digest.digest("hex").slice(0, 16);
}

async function compileTo(folder: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const fresh = await mkdtemp(join(CACHE, "compiling-"));
  await promisify(execFile)(...unhooked([process.execPath, COMPILER, "-p", HERE, "--outDir", fresh]));
  try {
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
}
