import { readdir, readlink, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { compareVersions, parseVersion } from "@belay/shared";
import { orMissing } from "../durable.js";

/** Beside the agent's own link: what its upgrade goes back to. */
export function previousOf(link: string): string {
  return join(dirname(link), "previous");
}

/** The version that the link leads to. Null: no link, or it leads nowhere, or not to a version of `versionsDir`. */
export async function installedVersion(link: string, versionsDir: string): Promise<string | null> {
  const target = await readlink(link).catch((error: NodeJS.ErrnoException) => {
    // EINVAL: something is there, but not a link.
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "EINVAL") return null;
    throw error;
  });
  if (target === null) return null;
  const real = await orMissing(realpath(resolve(dirname(link), target)));
  const root = await orMissing(realpath(versionsDir));
  if (real === null || root === null || dirname(real) !== root) return null;
  return versionNamed(basename(real));
}

/** Every whole version folder, oldest version first. Folders that are being made have other names. */
export async function keptVersions(versionsDir: string): Promise<string[]> {
  const entries = (await orMissing(readdir(versionsDir, { withFileTypes: true }))) ?? [];
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => versionNamed(entry.name))
    .filter((version) => version !== null)
    .sort(compareVersions);
}

/** A folder is a version's only under its canonical name: `v6.2.31` is somebody else's. */
function versionNamed(name: string): string | null {
  return parseVersion(name) === name ? name : null;
}
