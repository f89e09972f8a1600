import { HASH_BYTES, MerkleTree } from "@belay/shared";

/**
 * The layout of the log on disk and over HTTP (c2sp.org/tlog-tiles): hashes in tiles of 256, entries in bundles of 256, what
 * is not full yet under `.p/<how many>`. A tile of level L + 1 holds the roots of the full tiles of level L.
 */
export const TILE_WIDTH = 256;
/** Subtrees of 2^8 leaves a tile. */
export const TILE_HEIGHT = 8;

/** `width` of TILE_WIDTH: a full tile. `level` "entries": a bundle. */
export interface Tile {
  readonly level: number | "entries";
  readonly index: number;
  readonly width: number;
}

export function tilePath({ level, index, width }: Tile): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0");
  const groups = digits.match(/.../g) ?? [];
  const place = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join("/");
  return `tile/${level}/${place}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

/** The tile at a path; null for any other path, also for one that says the same in another way. */
export function tileAt(path: string): Tile | null {
  const [, level, place, width] =
    /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path) ?? [];
  if (level === undefined || place === undefined) return null;
  const tile = {
    level: level === "entries" ? level : Number(level),
    index: Number(place.replace(/[x/]/g, "")),
    width: width === undefined ? TILE_WIDTH : Number(width),
  } as const;
  return tile.width > 0 && tile.width <= TILE_WIDTH && tilePath(tile) === path ? tile : null;
}

/** Every tile of a log of this size, bundles first, then level by level: what a whole copy consists of. */
export function* tilesOf(size: number): Generator<Tile> {
  yield* row("entries", size);
  for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH))
    yield* row(level, count);
}

function* row(level: Tile["level"], count: number): Generator<Tile> {
  const full = Math.floor(count / TILE_WIDTH);
  for (let index = 0; index < full; index += 1) yield { level, index, width: TILE_WIDTH };
  if (count % TILE_WIDTH > 0) yield { level, index: full, width: count % TILE_WIDTH };
}

/** The root of a log by the hashes of its unfinished tiles, from level 0 up. Null: it has no entries. */
export function rootOfEdge(edge: readonly (readonly Buffer[])[]): Buffer | null {
  let below: Buffer | null = null;
  for (const hashes of edge) {
    const all: readonly Buffer[] = below === null ? hashes : [...hashes, below];
    if (all.length > 0) below = new MerkleTree(all).root;
  }
  return below;
}

/** Entries as a bundle has them: each behind its length in two bytes. */
export function writeBundle(entries: readonly Buffer[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}

/** The entries of a bundle, as far as they are whole; `rest`: bytes behind them. */
export function readBundle(bytes: Buffer): { readonly entries: readonly Buffer[]; readonly rest: number } {
  const entries: Buffer[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) break;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return { entries, rest: bytes.length - at };
}

/** The bytes of a tile when it was this narrow, of what it has become since: it only ever grows at its end. */
export function beginningOf(grown: Buffer, { level, width }: Tile): Buffer {
  if (level !== "entries") return grown.subarray(0, width * HASH_BYTES);
  const kept = readBundle(grown).entries.slice(0, width);
  return grown.subarray(
    0,
    kept.reduce((sum, entry) => sum + 2 + entry.length, 0),
  );
}

export function hashesOf(tile: Buffer): Buffer[] {
  const count = Math.floor(tile.length / HASH_BYTES);
  return Array.from({ length: count }, (_, index) => tile.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES));
}
