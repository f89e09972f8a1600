import { leafHash, MerkleTree } from "@belay/shared";
import { rootOfEdge, TILE_WIDTH, type Tile, writeBundle } from "./tiles.js";

/** The right edge of a log: what is not in a full tile yet. Enough to go on, and to know the root. */
export class Edge {
  readonly #hashes: Buffer[][];
  readonly #bundle: Buffer[];
  #size: number;

  constructor(size: number, bundle: readonly Buffer[], hashes: readonly (readonly Buffer[])[]) {
    this.#size = size;
    this.#bundle = [...bundle];
    this.#hashes = hashes.map((level) => [...level]);
  }

  get size(): number {
    return this.#size;
  }

  /** Null: the log has no entries. */
  get root(): Buffer | null {
    return rootOfEdge(this.#hashes);
  }

  get bundle(): readonly Buffer[] {
    return this.#bundle;
  }

  /** The hashes of a level's unfinished tile. */
  hashesAt(level: number): readonly Buffer[] {
    return this.#hashes[level] ?? [];
  }

  copy(): Edge {
    return new Edge(this.#size, this.#bundle, this.#hashes);
  }

  /** Takes an entry in. Answers with the tiles that it has made full. */
  add(entry: Buffer): { readonly tile: Tile; readonly bytes: Buffer }[] {
    const full: { tile: Tile; bytes: Buffer }[] = [];
    this.#bundle.push(entry);
    const index = Math.floor(this.#size / TILE_WIDTH);
    this.#size += 1;
    if (this.#bundle.length === TILE_WIDTH) {
      full.push({ tile: { level: "entries", index, width: TILE_WIDTH }, bytes: writeBundle(this.#bundle.splice(0)) });
    }
    let hash: Buffer | null = leafHash(entry);
    for (let level = 0; hash !== null; level += 1) {
      const hashes = this.#hashes[level] ?? [];
      this.#hashes[level] = hashes;
      hashes.push(hash);
      if (hashes.length < TILE_WIDTH) break;
      const place = Math.floor(this.#size / TILE_WIDTH ** (level + 1)) - 1;
      full.push({ tile: { level, index: place, width: TILE_WIDTH }, bytes: Buffer.concat(hashes) });
      hash = new MerkleTree(hashes.splice(0)).root;
    }
    return full;
  }

  /** What is not full, as the layout has it. */
  partials(): { readonly tile: Tile; readonly bytes: Buffer }[] {
    const tiles: { tile: Tile; bytes: Buffer }[] = [];
    const width = this.#bundle.length;
    const index = Math.floor(this.#size / TILE_WIDTH);
    if (width > 0) tiles.push({ tile: { level: "entries", index, width }, bytes: writeBundle(this.#bundle) });
    for (const [level, hashes] of this.#hashes.entries()) {
      if (hashes.length === 0) continue;
      const place = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
      tiles.push({ tile: { level, index: place, width: hashes.length }, bytes: Buffer.concat(hashes) });
    }
    return tiles;
  }
}
