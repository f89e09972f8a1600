import { MerkleTree, proveConsistency } from "@belay/shared";
import type { Edge } from "./edge.js";
import type { AuditFolder } from "./folder.js";
import { beginningOf, hashesOf, readBundle, TILE_HEIGHT, TILE_WIDTH, tileAt, tilePath, tilesOf } from "./tiles.js";

/** Full tiles never change; a proof wants a few of them. */
const MAX_CACHED_TILES = 64;

/**
 * What of the log lies on disk in tiles. Full ones stand by themselves; what is asked beyond them is asked of a log with a
 * certain edge, so that an answer is of one checkpoint although the next may come meanwhile. Throws `audit-damaged` where a
 * tile is missing.
 */
export class StoredTiles {
  readonly #folder: AuditFolder;
  readonly #full = new Map<string, Buffer[]>();

  constructor(folder: AuditFolder) {
    this.#folder = folder;
  }

  /** The entries of a full bundle. */
  async entries(index: number): Promise<readonly Buffer[]> {
    const path = tilePath({ level: "entries", index, width: TILE_WIDTH });
    return readBundle(await this.#folder.mustRead(path)).entries;
  }

  /** What shows that the log with this edge continues the log as it was at `size`, which must not be larger. */
  proof(size: number, edge: Edge): Promise<Buffer[]> {
    return proveConsistency(size, edge.size, (height, index) => this.#subtree(edge, height, index));
  }

  /**
   * A tile by its path; also an unfinished one that has grown since. Null: the log has none there. `edge` is asked after the tile
   * was looked for: it may be grown, and tidied away, by a checkpoint that came in between.
   */
  async file(path: string, edge: () => Edge): Promise<Buffer | null> {
    const tile = tileAt(path);
    if (tile === null) return null;
    const found = await this.#folder.read(path);
    if (found !== null || tile.width === TILE_WIDTH) return found;
    const grown = [...tilesOf(edge().size)].find(({ level, index }) => level === tile.level && index === tile.index);
    if (grown === undefined || grown.width < tile.width) return null;
    const bytes = await this.#folder.read(tilePath(grown));
    return bytes === null ? null : beginningOf(bytes, tile);
  }

  async #subtree(edge: Edge, height: number, index: number): Promise<Buffer> {
    const level = Math.floor(height / TILE_HEIGHT);
    const span = 2 ** (height % TILE_HEIGHT);
    const tile = Math.floor((index * span) / TILE_WIDTH);
    const full = Math.floor(edge.size / TILE_WIDTH ** (level + 1));
    const hashes = tile < full ? await this.#hashes(level, tile) : edge.hashesAt(level);
    const start = (index * span) % TILE_WIDTH;
    return new MerkleTree(hashes.slice(start, start + span)).root;
  }

  async #hashes(level: number, index: number): Promise<Buffer[]> {
    const path = tilePath({ level, index, width: TILE_WIDTH });
    const known = this.#full.get(path);
    if (known !== undefined) return known;
    const hashes = hashesOf(await this.#folder.mustRead(path));
    const [oldest] = this.#full.keys();
    if (this.#full.size >= MAX_CACHED_TILES && oldest !== undefined) this.#full.delete(oldest);
    this.#full.set(path, hashes);
    return hashes;
  }
}
