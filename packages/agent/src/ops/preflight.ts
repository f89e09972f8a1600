import { type BackupItem, BelayError, done, type OpOf } from "@belay/shared";
import { sizeOf } from "../backups/keep.js";
import { deviceOf, needRoom } from "../facts/disk.js";
import { factsOf } from "../facts/snapshot.js";
import type { Host } from "../host.js";
import { drift, needDefined } from "./drift.js";
import type { Attempt, Perform } from "./op.js";

/** Is this host as the plan assumed, and has it room? The first thing that isn't so is the failure. */
export const preflight: Perform<"preflight"> = async (op, host, attempt) => {
  const facts = await factsOf(op.probe, host, attempt.signal);
  if (op.expect !== null && facts.installed !== op.expect) throw drift(op.expect, facts.installed);
  await needDefined(op, host.allowed.service(op.probe.service), op.probe.versionsDir);
  await roomForAll(op.needs, host, attempt);
  if (op.healthy && !facts.healthy) {
    throw new BelayError("unhealthy", `the service is not healthy: ${facts.ailments.join("; ")}`, {
      hint: "upgrade only what works: repair this host, or quarantine it",
      context: { ailments: facts.ailments },
    });
  }
  return done(false, facts);
};

/** What lands on one file system must fit there together: download, unpacked files and backups. Throws `disk-full`. */
async function roomForAll(needs: OpOf<"preflight">["needs"], host: Host, attempt: Attempt): Promise<void> {
  const taken = new Map<number, { bytes: number; inodes: number; what: string[] }>();
  for (const need of needs) {
    await host.allowed.path(need.path);
    let bytes = need.bytes;
    for (const item of need.copies ?? []) bytes += await measured(item, host, attempt);
    const device = await deviceOf(need.path);
    const before = taken.get(device) ?? { bytes: 0, inodes: 0, what: [] };
    const inodes = before.inodes + need.inodes + (need.copies?.length ?? 0);
    const all = { bytes: before.bytes + bytes, inodes, what: [...before.what, need.path] };
    taken.set(device, all);
    await needRoom(need.path, { ...all, what: all.what.length === 1 ? "this upgrade" : all.what.join(" with ") });
  }
}

async function measured(item: BackupItem, host: Host, { vouched, signal }: Attempt): Promise<number> {
  // Whoever measures a backend starts its programs, with its secrets.
  if (item.kind === "backend" && !vouched) return 0;
  if (item.kind === "file" || item.kind === "sqlite") await host.allowed.path(item.path);
  return sizeOf(item, host, signal);
}
