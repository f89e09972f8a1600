import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  isSignedBy,
  readCheckpoint,
  readVerifier,
  type SignedCheckpoint,
  verifierOf,
  writeVerifier,
} from "@belay/shared";
import { auditDamaged } from "./damaged.js";
import { Edge } from "./edge.js";
import { readEntry } from "./entry.js";
import { AuditFolder } from "./folder.js";
import { type AuditKeys, openAuditKeys } from "./key.js";
import { Pending } from "./pending.js";
import type { Published } from "./publisher.js";
import { StoredTiles } from "./stored-tiles.js";
import { hashesOf, readBundle, TILE_WIDTH, tilePath, tilesOf } from "./tiles.js";

/** A log as it was found on disk. Whoever gets it closes `pending`. */
export interface Recovered {
  /** Its name. */
  readonly origin: string;
  readonly keys: AuditKeys;
  readonly folder: AuditFolder;
  readonly tiles: StoredTiles;
  readonly pending: Pending;
  readonly published: Published;
  /** On disk, and under no checkpoint yet. */
  readonly fresh: Buffer[];
  /** When its last entry was written; 0: it has none. */
  readonly lastAt: number;
}

/**
 * Takes up the log in `dir` where an earlier life left it, and names a new one where there is none. Throws `audit-damaged` for
 * a log that is not what its newest checkpoint says, and as `openAuditKeys`.
 */
export async function recoverLog(dir: string, keyFile: string): Promise<Recovered> {
  const folder = new AuditFolder(dir);
  const [note, named] = [await folder.read("checkpoint"), await folder.read("key")];
  const keys = await openAuditKeys(keyFile, named !== null);
  const newest = note === null ? null : readCheckpoint(note.toString("utf8"));
  const origin =
    named === null ? `belay-audit-${randomBytes(4).toString("hex")}` : readVerifier(named.toString("utf8").trim()).name;
  if (newest !== null) mustBeOurs(newest, origin, keys);
  const key = `${writeVerifier(verifierOf(origin, keys.key))}\n`;
  if (named?.toString("utf8") !== key) await folder.put("key", Buffer.from(key));
  await folder.sync();
  const edge = await readEdge(folder, newest);
  const tiles = new StoredTiles(folder);
  const { pending, entries } = await Pending.open(join(dir, "pending"));
  try {
    const fresh = unpublished(entries, edge.size);
    const last = fresh.at(-1) ?? (await lastEntry(tiles, edge));
    const lastAt = last === null ? 0 : readEntry(last).at;
    return { origin, keys, folder, tiles, pending, published: { edge, newest }, fresh, lastAt };
  } catch (error) {
    await pending.close();
    throw error;
  }
}

function mustBeOurs(newest: SignedCheckpoint, origin: string, { key, before }: AuditKeys): void {
  const ours = [key, ...(before === null ? [] : [before])].map((one) => verifierOf(origin, one));
  if (newest.checkpoint.origin === origin && ours.some((one) => isSignedBy(newest, one))) return;
  throw auditDamaged("its newest checkpoint was not signed by the key that is here");
}

/** Reads the unfinished tiles back, and holds them against the checkpoint. */
async function readEdge(folder: AuditFolder, newest: SignedCheckpoint | null): Promise<Edge> {
  if (newest === null) return new Edge(0, [], []);
  const { size, root } = newest.checkpoint;
  let bundle: readonly Buffer[] = [];
  const hashes: Buffer[][] = [];
  for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH)) hashes[level] = [];
  for (const tile of tilesOf(size)) {
    if (tile.width === TILE_WIDTH) continue;
    const bytes = await folder.mustRead(tilePath(tile));
    if (tile.level === "entries") bundle = readBundle(bytes).entries;
    else hashes[tile.level] = hashesOf(bytes);
  }
  const edge = new Edge(size, bundle, hashes);
  if (edge.root?.equals(root) !== true || bundle.length !== size % TILE_WIDTH) {
    throw auditDamaged(`its newest tiles are not what its checkpoint of ${size} entries says`);
  }
  return edge;
}

/** What is pending and not under the checkpoint yet: a crash may have come between the checkpoint and the clearing. */
function unpublished(entries: readonly Buffer[], size: number): Buffer[] {
  const fresh = entries.filter((entry) => readEntry(entry).seq >= size);
  for (const [index, entry] of fresh.entries()) {
    const { seq } = readEntry(entry);
    if (seq !== size + index) throw auditDamaged(`entry ${size + index} is missing: ${seq} is pending behind ${size}`);
  }
  return fresh;
}

async function lastEntry(tiles: StoredTiles, { bundle, size }: Edge): Promise<Buffer | null> {
  const last = bundle.at(-1);
  if (last !== undefined || size === 0) return last ?? null;
  return (await tiles.entries(size / TILE_WIDTH - 1)).at(-1) ?? null;
}
