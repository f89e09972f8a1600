import { readdir, readlink, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { done, parseVersion } from "@belay/shared";
import { readBackup } from "../backups/manifest.js";
import { orMissing, syncDir } from "../durable.js";
import type { Host } from "../host.js";
import { installedVersion, keptVersions } from "../versions/installed.js";
import type { Perform } from "./op.js";

/** What belay leaves beside versions while it works. An op under way can't own any: ops go one at a time. */
const LEFTOVER = /^\.belay-.+\.(partial|unpacking|removing)$/;

/**
 * Frees the room of versions that nobody needs: not linked, not running in any process, not in `keep`; and of all but the
 * newest backups. Idempotent.
 */
export const prune: Perform<"prune"> = async (op, host, attempt) => {
  await host.allowed.path(op.versionsDir);
  await host.allowed.path(op.backupsDir);
  await host.allowed.link(op.link);
  const linked = await installedVersion(op.link, op.versionsDir);
  const running = await versionsInUse(op.versionsDir);
  const versions = (await keptVersions(op.versionsDir)).filter(
    (version) => version !== linked && !running.has(version) && !op.keep.includes(version),
  );
  const backups = await oldBackups(op.backupsDir, op.keepBackups);
  const names = (await orMissing(readdir(op.versionsDir))) ?? [];
  const leftovers = names.filter((name) => LEFTOVER.test(name));
  const changed = versions.length + backups.length + leftovers.length > 0;
  if (attempt.check) {
    return done(changed, { would: `remove versions [${versions.join(", ")}] and backups [${backups.join(", ")}]` });
  }
  for (const name of leftovers) await rm(join(op.versionsDir, name), { recursive: true, force: true });
  for (const version of versions) await remove(op.versionsDir, version, host);
  for (const id of backups) await remove(op.backupsDir, id, host);
  return done(changed, { versions, backups });
};

/** Out of sight by one rename first: a half-removed folder must never be taken for a version or a backup. */
async function remove(dir: string, name: string, host: Host): Promise<void> {
  const doomed = join(dir, `.belay-${name}.removing`);
  await rm(doomed, { recursive: true, force: true });
  await rename(join(dir, name), doomed);
  await syncDir(dir);
  await rm(doomed, { recursive: true, force: true });
  host.log.info({ dir, name }, "pruned");
}

/** Versions that some live process was started from: one that drains after a reload still needs its files. */
async function versionsInUse(versionsDir: string): Promise<Set<string>> {
  const inUse = new Set<string>();
  for (const name of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    // Not ours to read, or gone meanwhile: then it isn't a service that this agent could have started.
    const exe = await readlink(`/proc/${name}/exe`).catch(() => "");
    if (!exe.startsWith(`${versionsDir}/`)) continue;
    const version = parseVersion(exe.slice(versionsDir.length + 1).split("/")[0] ?? "");
    if (version !== null) inUse.add(version);
  }
  return inUse;
}

async function oldBackups(dir: string, keep: number): Promise<string[]> {
  const whole: { id: string; takenAt: number }[] = [];
  for (const id of (await orMissing(readdir(dir))) ?? []) {
    // A damaged manifest is left for a person to see; only what is known to be an old whole backup goes.
    const backup = id.startsWith(".") ? null : await readBackup(dir, id).catch(() => null);
    if (backup !== null) whole.push({ id, takenAt: backup.manifest.takenAt });
  }
  return whole
    .sort((a, b) => b.takenAt - a.takenAt)
    .slice(keep)
    .map((each) => each.id);
}
