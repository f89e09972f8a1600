import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, type Entry } from "@belay/shared";
import { orMissing, syncFile, writeDurably } from "../durable.js";
import type { Exec } from "../exec.js";
import { MANIFEST_NAME, readManifest } from "../versions/manifest.js";

const COPY_TIMEOUT_MS = 10 * 60_000;
const ANY_EXECUTES = 0o111;
/** Of `cp`. It asks for no more than a file system keeps. */
const ATTRIBUTES = ["--attributes-only", "--preserve=all", "--no-preserve=timestamps"];

/** What it says of a full disk is matched below, whatever language this host speaks. */
const IN_ENGLISH = { LC_ALL: "C" };

/** Copies a file with owner, mode, times, capabilities, extended attributes and SELinux context, durably. */
export async function copyExactly(from: string, to: string, exec: Exec, signal: AbortSignal): Promise<void> {
  await cp(["--archive", "--no-target-directory", "--", from, to], exec, signal);
  await syncFile(to);
}

/**
 * Programs of the new version take over owner, mode, capabilities, extended attributes and SELinux context from those of the
 * old one: what a host's owner gave to the program outlives its upgrade. Content is not touched; the manifest stays true.
 * Idempotent. Called before anything leads to the new version.
 */
export async function keepAttributes(
  dirs: { from: string; to: string; entry: Entry | undefined },
  exec: Exec,
  signal: AbortSignal,
): Promise<void> {
  const below = dirs.entry?.below ?? "";
  const programs = new Map<string, number>();
  const pairs: { old: string; fresh: string }[] = [];
  for (const { name } of await readdir(join(dirs.to, below), { withFileTypes: true })) {
    const [old, fresh] = [join(dirs.from, below, name), join(dirs.to, below, name)];
    const [was, is] = await Promise.all([orMissing(lstat(old)), lstat(fresh)]);
    if (!was?.isFile() || !is.isFile() || (is.mode & ANY_EXECUTES) === 0) continue;
    pairs.push({ old, fresh });
    programs.set(join(below, name), was.mode & 0o7777);
  }
  if (pairs.length > 0) {
    const args = [...ATTRIBUTES, `--target-directory=${join(dirs.to, below)}`, "--"];
    await cp([...args, ...pairs.map(({ old }) => old)], exec, signal);
    await Promise.all(pairs.map(({ fresh }) => syncFile(fresh)));
  }
  const manifest = await readManifest(dirs.to);
  if (manifest === null) return;
  const files = manifest.files.map((file) =>
    "mode" in file ? { ...file, mode: programs.get(file.path) ?? file.mode } : file,
  );
  if (files.every((file, index) => file === manifest.files[index] || sameMode(file, manifest.files[index]))) return;
  await writeDurably(join(dirs.to, MANIFEST_NAME), `${JSON.stringify({ ...manifest, files })}\n`);
}

/**
 * A file that is to take another's place takes over owner, mode, access control lists, capabilities, extended attributes and SELinux
 * context. Content and times are not touched. Idempotent.
 */
export async function takeOver(old: string, fresh: string, exec: Exec, signal: AbortSignal): Promise<void> {
  await cp([...ATTRIBUTES, "--", old, fresh], exec, signal);
}

function sameMode(a: object, b: object | undefined): boolean {
  return b !== undefined && "mode" in a && "mode" in b && a.mode === b.mode;
}

async function cp(args: string[], exec: Exec, signal: AbortSignal): Promise<void> {
  const result = await exec.run(["cp", ...args], { timeoutMs: COPY_TIMEOUT_MS, signal, env: IN_ENGLISH });
  if (result.code === 0) return;
  const full = /No space left|Disk quota exceeded/.test(result.stderr);
  throw new BelayError(full ? "disk-full" : "copy-failed", `cp ends with ${result.code}: ${result.stderr.trim()}`, {
    hint: full ? "free some space" : "see whether the file system keeps owners, modes and extended attributes",
    context: { args },
  });
}
