import { spawnSync } from "node:child_process";

/** Why this process can't mount anything, in words; null: it can. */
export function whyNoMounts(): string | null {
  if (process.getuid?.() !== 0) return "needs root, to mount";
  const tried = spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { encoding: "utf8" });
  return tried.status === 0 ? null : `may not mount here: ${(tried.stderr ?? String(tried.error)).trim()}`;
}
