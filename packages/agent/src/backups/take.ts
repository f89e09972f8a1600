import { copyFile, mkdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type BackupItem, type BackupResult, type BackupSpec, BelayError } from "@belay/shared";
import { digestOfFile, makeDir, orMissing, syncDir, syncTree, writeDurably } from "../durable.js";
import { roomAt } from "../facts/disk.js";
import type { Host } from "../host.js";
import { BACKUP_MANIFEST, type BackupManifest, type BackupRecord, needBackup } from "./manifest.js";
import { copyDatabase } from "./sqlite.js";
import { verifyBackup } from "./verify.js";

const COMMAND_TIMEOUT_MS = 60 * 60_000;

/** Throws unless this host allows every path and command of the spec. Called before anything is touched. */
export async function allowBackup(spec: BackupSpec, host: Host): Promise<void> {
  await host.allowed.path(spec.dir);
  for (const item of spec.items) {
    if (item.kind === "command") {
      host.allowed.command(item.command);
      host.allowed.command(item.restore);
    } else await host.allowed.path(item.path);
  }
}

/**
 * Takes a backup and reads it back (I4). The folder `<dir>/<id>` appears by one rename, when whole; one of that id that
 * is there already is replaced, and until that moment kept. Throws `backup-source-missing` for an item that isn't there
 * and isn't optional.
 */
export async function takeBackup(spec: BackupSpec, host: Host, signal: AbortSignal): Promise<BackupResult> {
  const temp = join(spec.dir, `.${spec.id}.partial`);
  const final = join(spec.dir, spec.id);
  await makeDir(spec.dir, 0o700);
  await rm(temp, { recursive: true, force: true });
  await mkdir(temp, { mode: 0o700 });
  try {
    const items: BackupRecord[] = [];
    for (const [index, item] of spec.items.entries()) items.push(await keep(item, index, temp, host, signal));
    const takenAt = Math.round(host.clock.now());
    const manifest: BackupManifest = { id: spec.id, takenAt, version: spec.version, items };
    await writeDurably(join(temp, BACKUP_MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`, 0o600);
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

async function keep(
  item: BackupItem,
  index: number,
  into: string,
  host: Host,
  signal: AbortSignal,
): Promise<BackupRecord> {
  if (item.kind === "command") {
    const file = `${index}-${item.command}`;
    await runWithPath(host.allowed.command(item.command), join(into, file), item.command, host, signal);
    return {
      ...(await measure(join(into, file), signal)),
      kind: "command",
      file,
      command: item.command,
      restore: item.restore,
    };
  }
  // What a link leads to is what matters; a copy of the link would keep nothing.
  const source = await orMissing(realpath(item.path));
  const meta = source === null ? null : await stat(source);
  if (source === null || meta === null) {
    if (item.optional) return { kind: "absent", path: item.path };
    throw new BelayError("backup-source-missing", `${item.path} is not there`, {
      hint: "correct the paths in the product profile, or mark the item optional",
      context: { path: item.path },
    });
  }
  const file = `${index}-${basename(item.path)}`;
  await needRoom(meta.size, into);
  if (item.kind === "sqlite") await copyDatabase(host.exec, source, join(into, file), signal);
  else await copyFile(source, join(into, file));
  const { uid, gid, mode } = meta;
  return {
    ...(await measure(join(into, file), signal)),
    kind: item.kind,
    path: item.path,
    file,
    uid,
    gid,
    mode: mode & 0o7777,
  };
}

/** Said before the copy is begun: what a copy program makes of a full disk in the middle names neither path nor amount. */
async function needRoom(bytes: number, into: string): Promise<void> {
  const { freeBytes } = await roomAt(into);
  if (freeBytes >= bytes) return;
  throw new BelayError("backup-no-room", `a copy of ${bytes} bytes does not fit: ${freeBytes} are free at ${into}`, {
    hint: "make room on that disk, or point the variable `backups` elsewhere in fleet.yaml",
    context: { path: into, needed: bytes, free: freeBytes },
  });
}

/** Runs one of the host's own commands with a path as its last argument. Throws `command-failed`. */
export async function runWithPath(
  argv: readonly string[],
  path: string,
  name: string,
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  const result = await host.exec.run([...argv, path], { timeoutMs: COMMAND_TIMEOUT_MS, signal });
  if (result.code === 0) return;
  throw new BelayError(
    "command-failed",
    `command ${name} ends with ${result.code ?? result.signal}: ${result.stderr.trim()}`,
    {
      hint: "run the command of agent.yaml by hand and see what it says",
      context: { command: name, exit: result.code },
    },
  );
}

async function measure(path: string, signal: AbortSignal): Promise<{ size: number; sha256: string }> {
  const meta = await orMissing(stat(path));
  if (meta === null || !meta.isFile()) {
    throw new BelayError("command-failed", `the command wrote no file to ${path}`, {
      hint: "a backup command writes its backup to the path given as its last argument",
    });
  }
  return { size: meta.size, sha256: await digestOfFile(path, signal) };
}
