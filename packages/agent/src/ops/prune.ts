import { readdir, readlink, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { done, errorInfo, type OpOf, parseVersion } from "@belay/shared";
import { type ReadBackup, readBackup } from "../backups/manifest.js";
import { verifyBackup } from "../backups/verify.js";
import { isFull, orMissing, syncDir } from "../durable.js";
import type { Host } from "../host.js";
import { installedVersion, keptVersions, previousOf } from "../versions/installed.js";
import type { Attempt, Perform } from "./op.js";
import { isRetryable } from "./retryable.js";

const NO_ROOM: ReadonlySet<string> = new Set(["disk-full", "backup-no-room"]);
/** What belay leaves beside versions while it works. An op under way can't own any: ops go one at a time. */
const LEFTOVER = /^\.belay-.+\.(partial|unpacking|removing)$/;
/** The same beside backups: what an agent that was killed was about to keep, to read or to remove. */
const BACKUP_LEFTOVER = /^\..+\.(partial|copy|removing)$/;

/**
 * Frees the room of versions that nobody needs: not linked, not what an agent would go back to, not running in any process, not in
 * `keep`; and of all but the newest backups, by count and by age, and those that are needed (I4). Idempotent.
 */
export const prune: Perform<"prune"> = async (op, host, attempt) => {
  await host.allowed.path(op.versionsDir);
  await host.allowed.path(op.backupsDir);
  await host.allowed.link(op.link);
  const needed = new Set<string | null>([
    ...op.keep,
    ...(await versionsInUse(op.versionsDir)),
    await installedVersion(op.link, op.versionsDir),
    await installedVersion(previousOf(op.link), op.versionsDir),
  ]);
  const versions = (await keptVersions(op.versionsDir)).filter((version) => !needed.has(version));
  const leftovers = [...(await namesIn(op.versionsDir, LEFTOVER)), ...(await namesIn(op.backupsDir, BACKUP_LEFTOVER))];
  if (!attempt.check) {
    // First, because reading backups back may itself take room.
    for (const path of leftovers) await rm(path, { recursive: true, force: true });
    for (const version of versions) await remove(op.versionsDir, version, host);
  }
  const backups = await oldBackups(op, host, attempt);
  if (attempt.check) {
    const changed = versions.length + backups.length + leftovers.length > 0;
    return done(changed, { would: `remove versions [${versions.join(", ")}] and backups [${backups.join(", ")}]` });
  }
  const gone = await removeBackups(op.backupsDir, backups, host, attempt);
  return done(versions.length + gone.length + leftovers.length > 0, { versions, backups: gone });
};

/** Answers all that this step has removed, in earlier lives too: belayd believes in a backup until it is told. */
async function removeBackups(dir: string, ids: readonly string[], host: Host, attempt: Attempt): Promise<string[]> {
  const before = (attempt.passed("pruning")?.backups ?? []) as string[];
  const doomed = [...new Set([...before, ...ids])];
  if (ids.length > 0) await attempt.pass("pruning", { backups: doomed });
  for (const id of ids) await remove(dir, id, host);
  const there = new Set((await orMissing(readdir(dir))) ?? []);
  return doomed.filter((id) => !there.has(id));
}

async function namesIn(dir: string, pattern: RegExp): Promise<string[]> {
  const names = (await orMissing(readdir(dir))) ?? [];
  return names.filter((name) => pattern.test(name)).map((name) => join(dir, name));
}

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
  // The kernel names programs with all links followed.
  const root = await orMissing(realpath(versionsDir));
  if (root === null) return inUse;
  for (const name of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    // Not ours to read, or gone meanwhile: then it isn't a service that this agent could have started.
    const exe = await readlink(`/proc/${name}/exe`).catch(() => "");
    if (!exe.startsWith(`${root}/`)) continue;
    const version = parseVersion(exe.slice(root.length + 1).split("/")[0] ?? "");
    if (version !== null) inUse.add(version);
  }
  return inUse;
}

/** Beyond the count, or older than the age, and not needed; but the newest one that reads back whole stays, however old it is. */
async function oldBackups(op: OpOf<"prune">, host: Host, attempt: Attempt): Promise<string[]> {
  const { backupsDir, keepBackups, maxBackupAgeMs } = op;
  const whole: ReadBackup[] = [];
  for (const id of (await orMissing(readdir(backupsDir))) ?? []) {
    // A damaged manifest is left for a person to see; only what is known to be an old whole backup goes.
    const backup = id.startsWith(".") ? null : await readBackup(backupsDir, id).catch(() => null);
    if (backup !== null) whole.push(backup);
  }
  whole.sort((a, b) => b.manifest.takenAt - a.manifest.takenAt);
  const since = maxBackupAgeMs === undefined ? Number.NEGATIVE_INFINITY : host.clock.now() - maxBackupAgeMs;
  const needed = new Set(op.neededBackups);
  const doomed = whole.filter(
    ({ manifest }, index) => !needed.has(manifest.id) && (index >= keepBackups || manifest.takenAt < since),
  );
  if (doomed.length === 0) return [];
  const stay = await upToTheNewestSound(whole, host, attempt);
  return doomed.filter((each) => !stay.has(each)).map((each) => each.manifest.id);
}

/**
 * The newest backup that reads back, and those before it of which that can't be told now: their tool or their backend doesn't answer.
 * All of them, where none reads back: then a person must look, and each may be the one that can be saved. Throws where the disk
 * has no room to open one.
 */
async function upToTheNewestSound(newestFirst: ReadBackup[], host: Host, attempt: Attempt): Promise<Set<ReadBackup>> {
  const unjudged = new Set<ReadBackup>();
  for (const backup of newestFirst) {
    try {
      await verifyBackup(backup, host, attempt.signal, { tools: attempt.vouched });
      return unjudged.add(backup);
    } catch (error) {
      attempt.signal.throwIfAborted();
      const { code } = errorInfo(error);
      // There will be room again, as prune itself makes some: so it is worth another try.
      if (isFull(error) || NO_ROOM.has(code)) throw error;
      // What couldn't be looked at this time is not damaged: an older one must not be kept in its stead.
      if (isRetryable(code)) unjudged.add(backup);
      host.log.warn({ backup: backup.manifest.id, error: errorInfo(error) }, "a backup does not read back");
    }
  }
  return new Set(newestFirst);
}
