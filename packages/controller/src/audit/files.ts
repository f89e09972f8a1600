import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { BelayError } from "@belay/shared";
import type { LogFiles } from "./verify.js";

/** A log as it lies in a folder: belayd's own, or a copy. Throws `audit-unreadable` where there is no such folder. */
export async function logInFolder(dir: string): Promise<LogFiles> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new BelayError("audit-unreadable", (cause as Error).message, {
      hint: "Name the folder of an audit log: <dataDir>/audit, or what `belay audit export` wrote.",
      cause,
    });
  });
  const paths = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)));
  const there = new Set(paths);
  return {
    read: async (path) => (there.has(path) ? readFile(join(dir, path)) : null),
    list: async () => paths,
  };
}
