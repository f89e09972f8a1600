import { createHash, type Hash } from "node:crypto";
import { lstat, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, done } from "@belay/shared";
import { isFull, makeDir, orMissing, present, readPieces, syncDir, syncTree, writeDurably } from "../durable.js";
import { diskFull, needRoom } from "../facts/disk.js";
import { MANIFEST_NAME, type VersionManifest, verifyVersion, versionDir } from "../versions/manifest.js";
import { unpack } from "../versions/unpack.js";
import { download } from "./download.js";
import type { Perform } from "./op.js";

/** Names that belay makes beside the versions; none of them is a version, so nobody takes them for one. */
export const partialName = (sha256: string) => `.belay-${sha256}.partial`;
export const unpackingName = (version: string) => `.belay-${version}.unpacking`;

/** Folders, manifest and what is being written; the rest depends on the release. */
const FETCH_INODES = 16;

/**
 * Download, verify, unpack, and only then make visible by one rename: a version's folder is whole or not there.
 * Idempotent: what is there and intact is left alone; an interrupted download is resumed.
 */
export const fetch: Perform<"fetch"> = async (op, host, attempt) => {
  await host.allowed.path(op.versionsDir);
  const dir = versionDir(op.versionsDir, op.version);
  if (await present(dir)) {
    await verifyVersion(dir, op.sha256, attempt.signal);
    return done(false, attempt.check ? { would: `keep ${dir}, which is whole` } : undefined);
  }
  if (attempt.check) return done(true, { would: `download ${op.size} bytes and unpack them into ${dir}` });

  await makeDir(op.versionsDir);
  const partial = join(op.versionsDir, partialName(op.sha256));
  const had = (await orMissing(lstat(partial)))?.size ?? 0;
  const bytes = Math.max(0, (op.roomBytes ?? op.size) - had);
  await needRoom(op.versionsDir, { bytes, inodes: FETCH_INODES, what: `fetching ${op.version}` });
  try {
    await download({ source: op.source, sha256: op.sha256, size: op.size, partial }, host, attempt);
  } catch (error) {
    throw isFull(error) ? await diskFull(op.versionsDir, `downloading ${op.version}`, error) : error;
  }

  const unpacking = join(op.versionsDir, unpackingName(op.version));
  await rm(unpacking, { recursive: true, force: true });
  try {
    attempt.progress("unpacking");
    const hash = createHash("sha256");
    const files = await unpack(piecesOf(partial, hash), unpacking, op, attempt.signal);
    // Between the check and this, somebody may have put another file there: what counts is what was unpacked.
    if (hash.digest("hex") !== op.sha256) throw changedMeanwhile(partial);
    const artifact = { sha256: op.sha256, size: op.size };
    const manifest: VersionManifest = { version: op.version, artifact, files };
    await writeDurably(join(unpacking, MANIFEST_NAME), `${JSON.stringify(manifest)}\n`);
    await syncTree(unpacking);
    await rename(unpacking, dir);
    await syncDir(op.versionsDir);
  } catch (error) {
    const full = isFull(error) ? await diskFull(op.versionsDir, `unpacking ${op.version}`, error) : null;
    await rm(unpacking, { recursive: true, force: true });
    if (full !== null) throw full;
    // Bytes with the right digest that can't be unpacked safely will never be better: don't keep them either.
    if (error instanceof BelayError && error.code.startsWith("artifact-")) await rm(partial, { force: true });
    throw error;
  }
  await rm(partial, { force: true });
  return done(true);
};

/** A file's content, hashed on the way. Each piece is there until the next is asked for. */
async function* piecesOf(file: string, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const piece of readPieces(file)) {
    hash.update(piece);
    yield piece;
  }
}

function changedMeanwhile(partial: string): BelayError {
  return new BelayError("artifact-changed", `${partial} is not the file that was checked a moment ago`, {
    hint: "somebody else writes to the versions' folder: find out who, before anything else",
    context: { partial },
  });
}
