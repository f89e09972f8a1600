import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ArchiveFile } from "../standin/archive.js";

/** Installs a version beside those that are there, and leads the link to it. */
export async function installRelease(install: string, version: string, files: readonly ArchiveFile[]): Promise<void> {
  const folder = join(install, "versions", version);
  await writeFiles(files.map((file) => [join(folder, file.path), file.content, file.mode]));
  await linkVersion(install, version);
}

/** Leads `<install>/current` to an installed version, in one step. Restarts nothing. */
export async function linkVersion(install: string, version: string): Promise<void> {
  const fresh = join(install, `.current.${process.pid}`);
  await symlink(join("versions", version), fresh);
  await rename(fresh, join(install, "current"));
}

/** Writes files, each with its mode, and the folders they need. */
export async function writeFiles(
  files: readonly (readonly [path: string, content: string | Buffer, mode: number])[],
): Promise<void> {
  for (const [path, content, mode] of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content, { mode });
  }
}
