import { hash as digest } from "node:crypto";

/**
 * Merkle trees as RFC 6962 hashes them (and RFC 9162 after it): SHA-256, a leaf's hash begins with 0x00 and a node's with
 * 0x01, so that neither can be taken for the other. Hashes are 32 bytes.
 */
export type Hash = Buffer;

const LEAF = Buffer.from([0]);

export const HASH_BYTES = 32;

/** A node's two hashes behind their mark. Plans have hundreds of thousands of nodes: one piece of memory serves for all. */
const NODE = Buffer.alloc(1 + 2 * HASH_BYTES, 1);

/** The root of a tree with nothing in it: the hash of nothing. */
export const EMPTY_ROOT: Hash = digest("sha256", "", "buffer");

export function leafHash(leaf: string | Uint8Array): Hash {
  return digest("sha256", typeof leaf === "string" ? `\0${leaf}` : Buffer.concat([LEAF, leaf]), "buffer");
}

export function nodeHash(left: Hash, right: Hash): Hash {
  left.copy(NODE, 1);
  right.copy(NODE, 1 + HASH_BYTES);
  return digest("sha256", NODE, "buffer");
}

/**
 * A tree that is whole: every level of it is kept, 64 bytes a leaf in all, so that a proof costs no hashing. What is left
 * over at the right edge of a level moves up as it is, which is the same tree as the RFC's split at powers of two.
 */
export class MerkleTree {
  readonly #levels: readonly (readonly Hash[])[];

  constructor(leaves: readonly Hash[], levels: readonly (readonly Hash[])[] = levelsAbove(leaves)) {
    this.#levels = [leaves, ...levels];
  }

  /** The same tree, made in pieces of a few milliseconds each, with time for others in between. */
  static *inPieces(leaves: readonly Hash[]): Generator<void, MerkleTree, void> {
    const levels: Hash[][] = [];
    for (let level = leaves; level.length > 1; ) {
      const above: Hash[] = [];
      for (let at = 0; at < level.length; at += PIECE) {
        above.push(...levelAbove(level.slice(at, at + PIECE)));
        yield;
      }
      levels.push(above);
      level = above;
    }
    return new MerkleTree(leaves, levels);
  }

  get size(): number {
    return this.#levels[0]?.length ?? 0;
  }

  get root(): Hash {
    return this.#levels.at(-1)?.[0] ?? EMPTY_ROOT;
  }

  /** The hashes that lead from a leaf to the root, nearest first (RFC 6962, 2.1.1). Throws RangeError for no such leaf. */
  inclusionProof(index: number): Hash[] {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`leaf ${index} is not in a tree of ${this.size}`);
    }
    const path: Hash[] = [];
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
      if (sibling !== undefined) path.push(sibling);
      at = Math.floor(at / 2);
    }
    return path;
  }
}

/** Even, so that no pair is torn. */
const PIECE = 4096;

function levelsAbove(leaves: readonly Hash[]): Hash[][] {
  const levels: Hash[][] = [];
  for (let level = leaves; level.length > 1; ) {
    const above = levelAbove(level);
    levels.push(above);
    level = above;
  }
  return levels;
}

function levelAbove(level: readonly Hash[]): Hash[] {
  const above: Hash[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const [left, right] = [level[at], level[at + 1]];
    if (left !== undefined) above.push(right === undefined ? left : nodeHash(left, right));
  }
  return above;
}

/** Takes leaves one after the other and keeps a hash for each level: the root of what is too large to be kept. */
export class MerkleRoot {
  /** Whole subtrees, the largest first. */
  readonly #subtrees: { readonly size: number; readonly hash: Hash }[] = [];

  add(leaf: Hash): void {
    let added = { size: 1, hash: leaf };
    for (let last = this.#subtrees.at(-1); last?.size === added.size; last = this.#subtrees.at(-1)) {
      this.#subtrees.pop();
      added = { size: 2 * last.size, hash: nodeHash(last.hash, added.hash) };
    }
    this.#subtrees.push(added);
  }

  get size(): number {
    return this.#subtrees.reduce((sum, { size }) => sum + size, 0);
  }

  get root(): Hash {
    const [last, ...larger] = [...this.#subtrees].reverse();
    if (last === undefined) return EMPTY_ROOT;
    return larger.reduce((right, { hash }) => nodeHash(hash, right), last.hash);
  }
}

/**
 * The root that a leaf's path leads to in a tree of `size` leaves (RFC 9162, 2.1.3.2), or null where no tree of that size has
 * such a path: too long, too short, or a leaf beyond its end.
 */
export function rootFrom(leaf: Hash, index: number, size: number, path: readonly Hash[]): Hash | null {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return null;
  let at = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of path) {
    if (last === 0 || sibling.length !== HASH_BYTES) return null;
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(sibling, hash);
      // At the right edge, levels at which the leaf's subtree has no neighbour are passed over.
      while (at % 2 === 0 && at !== 0) {
        at /= 2;
        last = Math.floor(last / 2);
      }
    } else hash = nodeHash(hash, sibling);
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? hash : null;
}

/** Is this leaf at `index` in the tree of `size` leaves that has this root? */
export function isIncluded(leaf: Hash, index: number, size: number, path: readonly Hash[], root: Hash): boolean {
  return rootFrom(leaf, index, size, path)?.equals(root) ?? false;
}
