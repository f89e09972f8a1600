import { lstat, readFile, readlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError, parseVersion } from "@belay/shared";
import { digestOfFile, orMissing, present } from "../durable.js";

/** Beside the unpacked files: what they were when they came out of the artifact. */
export const MANIFEST_NAME = ".belay-manifest.json";

export interface VersionManifest {
  version: string;
  artifact: { sha256: string; size: number };
  files: ManifestFile[];
}

/** Paths are relative to the version's folder. Links are kept apart, because a digest of a link says nothing. */
export type ManifestFile =
  | { path: string; size: number; sha256: string; mode: number }
  | { path: string; link: string };

export function versionDir(versionsDir: string, version: string): string {
  return join(versionsDir, version);
}

/** Null if the folder has none: it was installed by hand. Throws `version-dir-changed` if it can't be read as one. */
export async function readManifest(dir: string): Promise<VersionManifest | null> {
  const text = await orMissing(readFile(join(dir, MANIFEST_NAME), "utf8"));
  if (text === null) return null;
  try {
    const manifest = JSON.parse(text) as VersionManifest;
    if (typeof manifest.artifact.sha256 === "string" && Array.isArray(manifest.files)) return manifest;
  } catch {
    // Not JSON, or not an object: the same complaint as below.
  }
  throw changed(dir, MANIFEST_NAME, "is not a manifest");
}

/**
 * Reads a version's folder back before anything depends on it. `sha256`: the artifact it must have come from; null: the
 * one that is there, which may have been installed by hand before Belay came and then has no manifest to hold it to.
 * Throws `version-missing`, `version-dir-changed` or `digest-mismatch`.
 */
export async function verifyVersion(dir: string, sha256: string | null, signal?: AbortSignal): Promise<void> {
  if (!(await present(dir))) {
    throw new BelayError("version-missing", `${dir} is not there`, { hint: "fetch it first", context: { dir } });
  }
  const manifest = await readManifest(dir);
  if (manifest === null) {
    if (sha256 === null) return;
    throw changed(dir, MANIFEST_NAME, "is missing");
  }
  if (sha256 !== null && manifest.artifact.sha256 !== sha256) {
    throw new BelayError("digest-mismatch", `${dir} came from another artifact than the plan's`, {
      hint: "find out who put it there, remove it, and fetch again",
      context: { dir, expected: sha256, found: manifest.artifact.sha256 },
    });
  }
  for (const file of manifest.files) await verifyFile(dir, file, signal);
}

/** Is this one of the files that the manifest of its version's folder names? It is not read. */
export async function isOfVersion(file: string, versionsDir: string): Promise<boolean> {
  if (!file.startsWith(`${versionsDir}/`)) return false;
  const [version = "", ...rest] = file.slice(versionsDir.length + 1).split("/");
  if (parseVersion(version) !== version) return false;
  const manifest = await readManifest(versionDir(versionsDir, version));
  if (manifest?.version !== version) return false;
  return manifest.files.some((each) => "sha256" in each && each.path === rest.join("/"));
}

/** Does any folder that a path is in hold a version? */
export async function isInVersion(path: string): Promise<boolean> {
  for (let at = dirname(path); ; at = dirname(at)) {
    if (await present(join(at, MANIFEST_NAME))) return true;
    if (at === dirname(at)) return false;
  }
}

async function verifyFile(dir: string, file: ManifestFile, signal: AbortSignal | undefined): Promise<void> {
  const path = join(dir, file.path);
  const stat = await orMissing(lstat(path));
  if (stat === null) throw changed(dir, file.path, "is missing");
  if ("link" in file) {
    if (!stat.isSymbolicLink() || (await readlink(path)) !== file.link)
      throw changed(dir, file.path, "leads elsewhere");
    return;
  }
  if (!stat.isFile() || stat.size !== file.size) throw changed(dir, file.path, "has another size");
  if ((stat.mode & 0o7777) !== file.mode) throw changed(dir, file.path, "has another mode");
  if ((await digestOfFile(path, signal)) !== file.sha256) throw changed(dir, file.path, "has another content");
}

function changed(dir: string, file: string, how: string): BelayError {
  return new BelayError("version-dir-changed", `${join(dir, file)} ${how}`, {
    hint: "something changed a fetched version: find out what, remove the folder, and fetch again",
    context: { dir, file },
  });
}
