import { type FileHandle, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeDir, ofFile, orMissing, writeDurably } from "../durable.js";

/** The few things a journal asks of a disk; tests hand in one that fills up or dies. */
export interface JournalDisk {
  readonly file: string;
  /** The whole content; empty if there is none yet. */
  read(): Promise<Buffer>;
  /** Cuts the file to `bytes` and makes that durable. */
  truncate(bytes: number): Promise<void>;
  /** Appends; not durable before `sync`. May leave a part behind when it throws. */
  append(bytes: Buffer): Promise<void>;
  sync(): Promise<void>;
  /** Puts new content in place of the old as one durable step. */
  replace(bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** A journal's file on a real disk, made when missing. */
export async function openJournalDisk(file: string): Promise<JournalDisk> {
  await makeDir(dirname(file), 0o700);
  if ((await orMissing(readFile(file))) === null) await writeDurably(file, "", 0o600);
  let handle: FileHandle = await open(file, "a");
  return {
    file,
    read: () => readFile(file),
    async truncate(bytes) {
      await handle.truncate(bytes);
      await handle.sync();
    },
    append: (bytes) => handle.appendFile(bytes).catch((error: unknown) => Promise.reject(ofFile(file, error))),
    sync: () => handle.datasync(),
    async replace(bytes) {
      await writeDurably(file, bytes, 0o600);
      const old = handle;
      handle = await open(file, "a");
      await old.close();
    },
    close: () => handle.close(),
  };
}
