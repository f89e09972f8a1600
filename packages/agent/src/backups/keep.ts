import { copyFile, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type BackupItem, BelayError } from "@belay/shared";
import { digestOfFile, orMissing } from "../durable.js";
import type { Host } from "../host.js";
import { openBackend } from "./backends/backend.js";
import { runWithPath } from "./command.js";
import type { BackupRecord } from "./manifest.js";
import { copyDatabase, sqliteTool } from "./sqlite.js";

/** How many bytes a copy of an item may take at most; 0 where nobody can tell. Throws if a backend can't be reached. */
export async function sizeOf(item: BackupItem, host: Host, signal: AbortSignal): Promise<number> {
  if (item.kind === "command") return 0;
  if (item.kind === "backend") return (await openBackend(item.backend, host).measure(signal)) ?? 0;
  const own = (await orMissing(stat(item.path)))?.size ?? 0;
  // What is in the log alone is in the copy, too.
  return item.kind === "sqlite" ? own + ((await orMissing(stat(`${item.path}-wal`)))?.size ?? 0) : own;
}

/** Copies one item into a backup's folder and says what it is. Throws `backup-source-missing`. */
export async function keep(
  item: BackupItem,
  index: number,
  into: string,
  host: Host,
  signal: AbortSignal,
): Promise<BackupRecord> {
  if (item.kind === "command") {
    const file = `${index}-${item.command}`;
    await runWithPath(host.allowed.command(item.command), join(into, file), item.command, host, signal);
    const { command, restore } = item;
    return { ...(await measure(join(into, file), signal)), kind: "command", file, command, restore };
  }
  if (item.kind === "backend") {
    const file = `${index}-${item.backend}`;
    const backend = openBackend(item.backend, host);
    const { tool, facts } = await backend.save(join(into, file), signal);
    const { engine, from } = backend;
    return {
      ...(await measure(join(into, file), signal)),
      kind: "backend",
      file,
      backend: item.backend,
      engine,
      from,
      tool,
      facts,
    };
  }
  return keepFile(item, index, into, host, signal);
}

async function keepFile(
  item: Extract<BackupItem, { path: string }>,
  index: number,
  into: string,
  host: Host,
  signal: AbortSignal,
): Promise<BackupRecord> {
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
    ...(item.kind === "sqlite" ? { tool: await sqliteTool(host.exec, signal) } : {}),
  };
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
