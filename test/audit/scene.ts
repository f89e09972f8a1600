import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NewEntry } from "@belay/controller/audit/entry";
import { AuditLog } from "@belay/controller/audit/log";
import type { LogFiles } from "@belay/controller/audit/verify";
import { pino } from "pino";
import type { Test } from "tap";

/** Checkpoints when a test asks for them. */
const NEVER_MS = 2 ** 30;

export async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "belay-audit-"));
  t.teardown(() => rm(dir, { recursive: true }));
  return dir;
}

export function openLog(dir: string, more: { checkpointEveryMs?: number; now?: () => number } = {}): Promise<AuditLog> {
  return AuditLog.open({
    dir: join(dir, "audit"),
    keyFile: join(dir, "audit.key"),
    now: more.now ?? Date.now,
    log: pino({ level: "silent" }),
    checkpointEveryMs: more.checkpointEveryMs ?? NEVER_MS,
  });
}

export function entry(number: number): NewEntry {
  return {
    who: { name: "mia", how: "api-token" },
    from: { address: "127.0.0.1", door: "loopback" },
    action: "run-pause",
    phase: "done",
    about: { run: `20261124-101500-${number}`, reason: "a look at the disks" },
  };
}

export async function fill(log: AuditLog, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, index) => log.append(entry(index))));
}

/** A log in memory, by path. */
export function logInMemory(files: ReadonlyMap<string, Buffer>): LogFiles {
  return { read: async (path) => files.get(path) ?? null, list: async () => [...files.keys()] };
}
