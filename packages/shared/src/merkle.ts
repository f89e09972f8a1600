import { createHash } from "node:crypto";

/** The hash of a leaf of a Merkle tree (RFC 6962, 2.1). Its prefix keeps a leaf from being taken for a node. */
export function hashLeaf(data: Uint8Array | string): Buffer {
  return createHash("sha256").update(LEAF).update(data).digest();
}

/** The hash of a node with two children. */
export function hashChildren(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash("sha256").update(NODE).update(left).update(right).digest();
}

/** The root over hashes of leaves, or of whole subtrees of one size with a smaller one at the end. Throws for none. */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  let level = hashes;
  while (level.length > 1) {
    const above: Buffer[] = [];
    for (let index = 0; index < level.length; index += 2) {
      const left = level[index] as Buffer;
      const right = level[index + 1];
      above.push(right === undefined ? left : hashChildren(left, right));
    }
    level = above;
  }
  const [root] = level;
  if (root === undefined) throw new TypeError("a tree of nothing has no root here");
  return root;
}

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);
