import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BackupResult, type BackupSpec, BelayError } from "@belay/shared";
import { AGENT_VERSION } from "../about.js";
import { makeDir, orMissing, syncDir, syncTree, writeDurably } from "../durable.js";
import type { Host } from "../host.js";
import { HOLDER } from "./held.js";
import { keep, sizeOf } from "./keep.js";
import { BACKUP_MANIFEST, type BackupManifest, type BackupRecord, needBackup } from "./manifest.js";
import { needBackupRoom } from "./room.js";
import { verifyBackup } from "./verify.js";

/** The manifest, the folders, and what tools make beside their output. */
const EXTRA_INODES = 16;

/** Throws unless this host allows every path, backend and command of the spec. Called before anything is touched. */
export async function allowBackup(spec: BackupSpec, host: Host): Promise<void> {
  await allowBackupFolder(spec.dir, spec.id, host);
  for (const item of spec.items) {
    if (item.kind === "command") {
      host.allowed.command(item.command);
      host.allowed.command(item.restore);
    } else if (item.kind === "backend") host.allowed.backend(item.backend);
    else await host.allowed.path(item.path);
  }
}

/** Throws `path-refused` for a backup whose folder would be another, or take the place of what no step may touch. */
export async function allowBackupFolder(dir: string, id: string, host: Pick<Host, "allowed">): Promise<void> {
  if (/^\.*$/.test(id)) throw new BelayError("path-refused", `${id} is no name of a backup`, { context: { dir, id } });
  await host.allowed.path(dir);
  await host.allowed.link(join(dir, id));
}

/**
 * Takes a backup and reads it back (I4). The folder `<dir>/<id>` appears by one rename, when whole; one of that id that
 * is there already is replaced, and until that moment kept. Throws `backup-source-missing` for an item that isn't there
 * and isn't optional, and `backup-no-room` before the first byte is written. `holder`: the step that may have to put it back.
 */
export async function takeBackup(
  spec: BackupSpec,
  host: Host,
  signal: AbortSignal,
  holder?: string,
): Promise<BackupResult> {
  const temp = join(spec.dir, `.${spec.id}.partial`);
  const final = join(spec.dir, spec.id);
  await rm(temp, { recursive: true, force: true });
  let bytes = 0;
  for (const item of spec.items) bytes += await sizeOf(item, host, signal);
  await needBackupRoom(spec.dir, { bytes, inodes: spec.items.length + EXTRA_INODES });
  await makeDir(spec.dir, 0o700);
  await mkdir(temp, { mode: 0o700 });
  try {
    const takenAt = Math.round(host.clock.now());
    const items: BackupRecord[] = [];
    for (const [index, item] of spec.items.entries()) items.push(await keep(item, index, temp, host, signal));
    const { id, version } = spec;
    const manifest: BackupManifest = {
      id,
      takenAt,
      version,
      host: host.name,
      agentVersion: AGENT_VERSION,
      items,
    };
    await writeDurably(join(temp, BACKUP_MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`, 0o600);
    if (holder !== undefined) await writeFile(join(temp, HOLDER), `${holder}\n`, { mode: 0o600 });
    await syncTree(temp);
    await replace(temp, final);
    await syncDir(spec.dir);
  } catch (error) {
    await rm(temp, { recursive: true, force: true });
    throw error;
  }
  return verifyBackup(await needBackup(spec.dir, spec.id), host, signal);
}

/** A folder can't be renamed over a full one. Between the two renames only the names are missing, not a byte. */
async function replace(temp: string, final: string): Promise<void> {
  const aside = `${temp}-old`;
  await rm(aside, { recursive: true, force: true });
  await orMissing(rename(final, aside));
  await rename(temp, final);
  await rm(aside, { recursive: true, force: true });
}
