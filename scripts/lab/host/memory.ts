import { accessSync, constants, existsSync } from "node:fs";
import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HIERARCHY = "/sys/fs/cgroup/memory";
const GONE_PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 50;

/** Where a lab's hosts have their groups, one each. */
export function memoryGroupsOf(lab: string): string {
  return join(HIERARCHY, `belay-lab.${lab}`);
}

/** Whether limits on memory are in force on this machine's hosts: its kernel has the hierarchy (cgroup v1) for it. */
export function limitsMemory(): boolean {
  if (!existsSync(join(HIERARCHY, "cgroup.procs"))) return false;
  try {
    // A machine that is a container itself may look at its groups, and make none.
    accessSync(HIERARCHY, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes the group of a host's own, so that limits which units set on their memory are the kernel's business there as on any
 * real host, and no other host's. Null where nothing can be limited.
 */
export async function makeMemoryGroup(lab: string, host: string): Promise<string | null> {
  if (!limitsMemory()) return null;
  const group = join(memoryGroupsOf(lab), host);
  await mkdir(group, { recursive: true });
  return group;
}

/** A command that is started within a group. */
export function within(group: string | null, argv: readonly string[]): string[] {
  return group === null ? [...argv] : ["sh", "-c", 'echo $$ >"$0"; exec "$@"', join(group, "cgroup.procs"), ...argv];
}

/**
 * What a host begins with. nspawn leaves it a read-only view of its group, and systemd looks but once, at its start, whether
 * it may make others below.
 */
export function beginning(group: string | null): string[] {
  const systemd = "/lib/systemd/systemd";
  return group === null ? [systemd] : ["sh", "-c", `mount -o remount,bind,rw ${HIERARCHY}; exec ${systemd}`];
}

/** Takes the groups of a lab's hosts away, whose processes have been ended. Throws when some go on. Idempotent. */
export async function removeMemoryGroups(lab: string): Promise<void> {
  const groups = memoryGroupsOf(lab);
  const deadline = Date.now() + GONE_PATIENCE_MS;
  while (existsSync(groups)) {
    try {
      await removeTree(groups);
    } catch (error) {
      // The kernel counts processes in that have ended, until it has cleared them away.
      // And somebody else may be clearing the same.
      const passes = ["EBUSY", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "");
      if (!passes || Date.now() > deadline) throw error;
      await sleep(LOOK_AGAIN_MS);
    }
  }
}

/** Deepest first; what look like files go with their folder. */
async function removeTree(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true });
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(dir, entry.name));
  await rmdir(dir);
}
